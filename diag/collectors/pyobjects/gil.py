"""Which thread has the global interpreter lock: ``holder`` and ``lock``, from memory alone.

struct _gil_runtime_state is {interval, last_holder, locked, switch_number …} from 3.7 to 3.13 (Include/
internal/pycore_gil.h): in _PyRuntime, from 3.12 on behind a pointer of the interpreter's. Before 3.7 the
interpreter exports the state of the thread that has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from diag.collectors.pyobjects import image, stacks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from diag.collectors.pyobjects import PyObjects

_RUNTIME_WORDS = 1024
_INTERPRETER_WORDS = 64
_MOST_SWITCHES = 1 << 40
_LONGEST_INTERVAL = 10**9  # microseconds that a thread waits before it asks for the lock; 5000 unless changed


class Lock(NamedTuple):
    """What memory shows of the lock."""

    holder: int | None  # thread id; None: nobody has it, or a thread that is not known
    taken: bool


def holder(objects: PyObjects, idents: Mapping[int, int]) -> int | None:
    """Return the thread that has the lock; None where nobody has it, or it cannot be told."""
    found = lock(objects, idents)
    return found.holder if found else None


def lock(objects: PyObjects, idents: Mapping[int, int]) -> Lock | None:
    """Find the lock; None where it cannot be found. ``idents``: thread pointer -> thread id."""
    states = dict.fromkeys(stacks.states(objects))
    found = list(_holders(objects, states))
    if not found:
        return None
    state = max(found)  # 0: free; a word that merely looks like a free lock may stand beside it
    return Lock(stacks.tid_of(objects, state, idents) if state in states else None, taken=state != 0)


def _holders(objects: PyObjects, states: Collection[int]) -> Iterator[int]:
    """Yield the state of the thread that has it, or 0, for each place that looks like the lock."""
    memory = objects.memory
    for mapping in image.candidates(objects.maps):
        loaded = image.load(memory, mapping)
        if loaded is None:
            continue
        if current := image.symbol(memory, loaded, "_PyThreadState_Current"):
            yield memory.word(current) or 0
        elif runtime := image.symbol(memory, loaded, "_PyRuntime"):
            words = memory.words(runtime, _RUNTIME_WORDS)
            for at in range(len(words) - 3):
                yield from _locked(words[at : at + 4], states)
            for word in memory.words(objects.interpreter, _INTERPRETER_WORDS):
                if word >= 1 << 16 and word % 8 == 0:
                    yield from _locked(memory.words(word, 4), states)


def _locked(words: tuple[int, ...], states: Collection[int]) -> Iterator[int]:
    if len(words) < 4 or not 0 < words[0] <= _LONGEST_INTERVAL or words[1] not in states:
        return
    if words[2] & 0xFFFFFFFF in (0, 1) and words[3] < _MOST_SWITCHES:
        yield words[1] if words[2] & 1 else 0
