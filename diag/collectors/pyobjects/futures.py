"""Futures and tasks, in C (``_asyncio``) or in Python: state, callbacks, what a task runs and awaits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from diag.collectors.pyobjects import locks
from diag.collectors.pyobjects.frames import GENERATORS
from diag.model.pyobjects import FutureObject

if TYPE_CHECKING:
    from diag.collectors.pyobjects.reader import Reader

TASKS = ("_asyncio.Task", "asyncio.tasks.Task")
FUTURES = ("_asyncio.Future", "asyncio.futures.Future")
THREAD_FUTURE = "concurrent.futures._base.Future"
_STATES = ("PENDING", "CANCELLED", "FINISHED")  # enum fut_state, Modules/_asynciomodule.c
_MOST_CALLBACKS = 100


class Fields(NamedTuple):
    """Offsets in FutureObj of ``_asyncio``: it shows none of them, and each release added some."""

    state: int
    callback: int  # the first callback; 0: there is only the list
    callbacks: int
    loop: int = 16


def _fields(reader: Reader) -> Fields:
    version = reader.layout.version
    if version == (3, 6):
        return Fields(state=56, callback=0, callbacks=24)
    state = 72 if version < (3, 9) else 80 if version < (3, 11) else 88
    return Fields(state=state, callback=24, callbacks=40)


def is_in_c(reader: Reader, address: int) -> bool:
    """Whether a future or task is one of ``_asyncio``."""
    return reader.is_a(address, "_asyncio.Future", "_asyncio.Task")


def state(reader: Reader, address: int) -> str | None:
    """Read the state of a future or task: PENDING, CANCELLED, FINISHED, or those of concurrent.futures."""
    if is_in_c(reader, address):
        number = reader.memory.int32(address + _fields(reader).state)
        return _STATES[number] if number is not None and 0 <= number < len(_STATES) else None
    found = reader.attribute(address, "_state")
    text = reader.text(found) if found else None
    return text if text and text.isupper() and len(text) < 32 else None


def loop(reader: Reader, address: int) -> int | None:
    """The event loop of a future or task."""
    if is_in_c(reader, address):
        return reader.memory.word(address + _fields(reader).loop) or None
    return reader.attribute(address, "_loop")


def callbacks(reader: Reader, address: int) -> tuple[int, ...]:
    """What is called when a future is done."""
    if not is_in_c(reader, address):
        found = reader.attribute(address, "_callbacks", "_done_callbacks")
        listed = reader.elements(found, _MOST_CALLBACKS) if found else ()
        return tuple(_callable(reader, one) for one in listed)
    fields = _fields(reader)
    first = reader.memory.word(address + fields.callback) if fields.callback else 0
    pointer = reader.memory.word(address + fields.callbacks) or 0
    rest = reader.elements(pointer, _MOST_CALLBACKS) if pointer else ()
    return tuple(_callable(reader, one) for one in ((first,) if first else ()) + rest)


def _callable(reader: Reader, address: int) -> int:
    """Unwrap a (callable, context) pair: how asyncio keeps callbacks since 3.7."""
    pair = reader.elements_of_tuple(address)
    return pair[0] if len(pair) == 2 else address


def coroutine_field(reader: Reader, task: int) -> int | None:
    """Find where a C task keeps its coroutine: the first word behind the future's own that is one."""
    kind = reader.type_of(task)
    start = _fields(reader).state + 8
    words = reader.memory.words(task + start, max(0, min(kind.basic, 512) - start) // 8) if kind else ()
    for at, word in enumerate(words):
        if word > 1 << 12 and word % 8 == 0 and _is_coroutine(reader, word):
            return task + start + 8 * at
    return None


def _is_coroutine(reader: Reader, address: int) -> bool:
    names = reader.class_names(address)
    return bool(names) and (names[0] in GENERATORS or names[0].endswith("coroutine"))


def coroutine(reader: Reader, task: int) -> int | None:
    """The coroutine a task runs; None once it has ended."""
    if not is_in_c(reader, task):
        return reader.attribute(task, "_coro")
    field = coroutine_field(reader, task)
    return reader.memory.word(field) if field else None


def waits_for(reader: Reader, task: int) -> int | None:
    """The future a task waits for; None while it runs or is due to run."""
    if is_in_c(reader, task):
        field = coroutine_field(reader, task)  # task_fut_waiter stands before task_coro in all versions
        found = reader.memory.word(field - 8) if field else None
    else:
        found = reader.attribute(task, "_fut_waiter")
    return found if found and not reader.is_none(found) else None


def name(reader: Reader, task: int) -> str | None:
    """The name of a task (3.8 and later); one that nobody has asked for yet is still a number."""
    if is_in_c(reader, task):
        field = coroutine_field(reader, task)
        found = reader.memory.word(field + 8) if field else None
    else:
        found = reader.attribute(task, "_name")
    if not found:
        return None
    if reader.is_a(found, "str"):
        return reader.text(found)
    number = reader.integer(found)
    return None if number is None else f"Task-{number}"


def describe(reader: Reader, address: int) -> FutureObject | None:
    """Read a future of concurrent.futures or asyncio; None when it is none."""
    if not reader.is_a(address, THREAD_FUTURE, *FUTURES, *TASKS):
        return None
    held = reader.attribute(address, "_condition")
    waiters = reader.attribute(address, "_waiters")
    return FutureObject(
        address=address,
        type=reader.type_name(address),
        state=state(reader, address),
        condition=locks.describe(reader, held) if held else None,
        callbacks=callbacks(reader, address),
        waiters=tuple(_event_words(reader, waiters)) if waiters else (),
    )


def _event_words(reader: Reader, waiters: int) -> list[int]:
    """Where the threads in wait() and as_completed() of a future sleep."""
    words: list[int] = []
    for one in reader.elements(waiters, _MOST_CALLBACKS):
        event = reader.attribute(one, "event")
        found = locks.describe(reader, event) if event else None
        words.extend(found.waiters if found else ())
    return words
