"""Which thread has the global interpreter lock: ``holder(objects, idents)``, from memory alone.

struct _gil_runtime_state is {interval, last_holder, locked, switch_number …} from 3.7 to 3.13 (Include/
internal/pycore_gil.h): in _PyRuntime, from 3.12 on behind a pointer of the interpreter's. Before 3.7 the
interpreter exports the state of the thread that has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import image, stacks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from diag.collectors.pyobjects import PyObjects

_RUNTIME_WORDS = 1024
_INTERPRETER_WORDS = 64
_LONGEST_INTERVAL = 10**9  # microseconds that a thread waits before it asks for the lock; 5000 unless changed


def holder(objects: PyObjects, idents: Mapping[int, int]) -> int | None:
    """Return the thread that has the lock; None where nobody has it, or it cannot be told.

    ``idents``: thread pointer -> thread id.
    """
    states = dict.fromkeys(stacks.states(objects))
    state = next(_holders(objects, states), None)
    return stacks.tid_of(objects, state, idents) if state in states else None


def _holders(objects: PyObjects, states: Collection[int]) -> Iterator[int]:
    memory = objects.memory
    for mapping in image.candidates(objects.maps):
        loaded = image.load(memory, mapping)
        if loaded is None:
            continue
        if current := image.symbol(memory, loaded, "_PyThreadState_Current"):
            yield memory.word(current) or 0
        elif runtime := image.symbol(memory, loaded, "_PyRuntime"):
            words = memory.words(runtime, _RUNTIME_WORDS)
            for at in range(len(words) - 2):
                yield from _locked(words[at : at + 3], states)
            for word in memory.words(objects.interpreter, _INTERPRETER_WORDS):
                if word >= 1 << 16 and word % 8 == 0:
                    yield from _locked(memory.words(word, 3), states)


def _locked(words: tuple[int, ...], states: Collection[int]) -> Iterator[int]:
    """Yield the state of the thread that has it, where these words are such a lock and somebody has."""
    is_lock = len(words) == 3 and 0 < words[0] <= _LONGEST_INTERVAL and words[1] in states
    if is_lock and words[2] & 0xFFFFFFFF == 1:
        yield words[1]
