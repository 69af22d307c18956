"""What is wrong with the interpreter's own lists of freed tuples, lists and dicts, which it hands out again.

Where they lie differs in each version (variables up to 3.9, the interpreter's state since), so no offset is
known here; they are told by what they hold. Of tuples: an array of lists by length, each linked through its
first item. Of lists and dicts: an array of 80, and how many of them count, right behind it or shortly before.
What is on such a list has no references (2.7 to 3.13), and is there once.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from diag.collectors.pyobjects import image
from diag.collectors.pyobjects.memory import HIGHEST
from diag.model.damage import Freed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.collectors.pyobjects import PyObjects

_STATE = 512 << 10
"""Bytes of a PyInterpreterState that are searched; 3.12's has 440 KiB."""
_VARIABLES = 1 << 20
_STEP = 1 << 15
_LONGEST = 20  # items of a tuple that is kept
_DEEPEST = 2000  # PyTuple_MAXFREELIST: of each length
_HELD = 80  # PyList_MAXFREELIST, PyDict_MAXFREELIST
_FEWEST = 3
MOST = 8
"""Findings."""


def check(objects: PyObjects) -> list[Freed]:
    """Return what is wrong with them."""
    types = _types(objects)
    found: list[Freed] = []
    for start, words in _places(objects):
        hits = _hits(objects, start, words, set(types.values()))
        for place in _tuple_arrays(objects, hits, types.get("tuple", 0)):
            found += _tuples(objects, place, types["tuple"])
        for name in ("list", "dict"):
            for first, count in _arrays(objects, start, words, hits, types.get(name, 0)):
                found += _array(objects, first, count, name)
        if len(found) >= MOST:
            break
    return found[:MOST]


def _types(objects: PyObjects) -> dict[str, int]:
    for mapping in image.candidates(objects.maps):
        if loaded := image.load(objects.memory, mapping):
            found = {
                name: address
                for name in ("tuple", "list", "dict")
                if (address := image.symbol(objects.memory, loaded, f"Py{name.capitalize()}_Type"))
            }
            if found:
                return found
    return {}


def _places(objects: PyObjects) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield (address, words) of what may hold them."""
    if objects.version >= (3, 10):
        yield objects.interpreter, _words(objects, objects.interpreter, _STATE)
        return
    path = next((one.path for one in image.candidates(objects.maps)), "")
    for item, after in zip(objects.maps, (*objects.maps[1:], None), strict=True):
        if item.path != path or not item.access.startswith("rw"):
            continue
        end = item.end
        if after and after.start == end and not after.path and after.access.startswith("rw"):
            end = after.end  # .bss
        yield item.start, _words(objects, item.start, min(end - item.start, _VARIABLES))


def _words(objects: PyObjects, start: int, size: int) -> tuple[int, ...]:
    found: tuple[int, ...] = ()
    for at in range(0, size, _STEP):
        words = objects.memory.words(start + at, min(_STEP, size - at) // 8)
        if not words:
            break
        found += words
    return found


def _hits(objects: PyObjects, start: int, words: Sequence[int], types: set[int]) -> dict[int, int]:
    """Words that point to an object of one of the types: address of the word -> type."""
    return {
        start + 8 * at: kind
        for at, word in enumerate(words)
        if 1 << 16 <= word < HIGHEST and not word % 8 and (kind := objects.memory.word(word + 8)) in types
        if kind is not None
    }


def _tuple_arrays(objects: PyObjects, hits: dict[int, int], kind: int) -> list[int]:
    """Where the list of tuples without items would be, of each array with lists of such lengths."""
    votes: Counter[int] = Counter()
    for place in (place for place, of in hits.items() if of == kind):
        head = objects.memory.word(place) or 0
        words = objects.memory.words(head, 3)
        if len(words) == 3 and 0 < words[2] <= _LONGEST:
            votes[place - 8 * words[2]] += 1
    return [place for place, count in votes.items() if count >= _FEWEST and _mostly_free(objects, place)]


def _mostly_free(objects: PyObjects, place: int) -> bool:
    """Whether most tuples that an array leads to have no references: a damaged list may lead to others."""
    heads = [head for head in objects.memory.words(place + 8, _LONGEST - 1) if head]
    counts = [objects.memory.word(head) for head in heads]
    return bool(counts) and sum(count == 0 for count in counts) * 2 > len(counts)


def _tuples(objects: PyObjects, place: int, kind: int) -> Iterator[Freed]:
    for length in range(1, _LONGEST):
        where = f"the free list of tuples of {length} items"
        node = objects.memory.word(place + 8 * length) or 0
        seen: set[int] = set()
        while node and len(seen) <= _DEEPEST:
            words = objects.memory.words(node, 3)
            if node in seen:
                yield Freed(where=where, address=node, text="the same object is on it twice")
                break
            if not seen and words[1:] != (kind, length):
                break  # where none of this length were freed, the array has something else, or ends
            if words[1:] != (kind, length):
                text = "it leads to what is no such tuple: one that was freed was written to"
                yield Freed(where=where, address=node, text=text, proves=False)
                break
            if words[0]:
                yield Freed(where=where, address=node, text=_used(words[0]))
                break
            seen.add(node)
            node = objects.memory.word(node + objects.layout.tuple_items) or 0


def _arrays(
    objects: PyObjects, start: int, words: Sequence[int], hits: dict[int, int], kind: int
) -> Iterator[tuple[int, int]]:
    """Yield (address, how many count) of arrays of freed objects of one type."""
    for place, of in hits.items():
        at = (place - start) // 8
        if of != kind or hits.get(place - 8) == kind:
            continue
        before = next((word for word in reversed(words[max(at - 4, 0) : at]) if word), 0)
        behind = words[at + _HELD] & 0xFFFFFFFF if at + _HELD < len(words) else 0
        for count in dict.fromkeys((behind, before)):
            entries = words[at : at + count] if 1 < count <= _HELD else ()
            free = sum(objects.memory.word(entry) == 0 for entry in entries)
            if free * 2 > len(entries) and all(hits.get(place + 8 * n) == kind for n in range(count)):
                yield place, count
                break


def _array(objects: PyObjects, place: int, count: int, name: str) -> Iterator[Freed]:
    where = f"the free list of {name}s"
    seen: set[int] = set()
    for address in objects.memory.words(place, count):
        if address in seen:
            yield Freed(where=where, address=address, text="the same object is on it twice")
        elif references := objects.memory.word(address):
            yield Freed(where=where, address=address, text=_used(references))
        seen.add(address)


def _used(references: int) -> str:
    signed = references - (1 << 64) if references >> 63 else references
    if signed < 0:
        return f"an object on it was released {-signed} times too often: its count is {signed}"
    return f"an object on it is in use: its count is {signed if signed < 1 << 32 else hex(signed)}"
