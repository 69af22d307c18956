"""The Python stacks of all threads, read from memory alone: where no program can be asked, as in a core.

``stacks(objects, idents)`` gives what py-spy would: frames with their variables, by thread. A thread is
known by its thread pointer (``pthread_self``), which PyThreadState keeps and the registers show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors.pyobjects import entered, frames, threads
from diag.host import redact
from diag.model.facts import Frame, Local, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diag.collectors.pyobjects import PyObjects
    from diag.model.pyobjects import TaskFrame

MOST_THREADS = 10_000
WORDS = 64
"""Words of a PyThreadState that are searched for the thread pointer and the frame."""
_LONGEST_TEXT = 4096  # PATH_MAX: a path that is cut short names another file


def stacks(objects: PyObjects, idents: Mapping[int, int]) -> tuple[Stack, ...]:
    """Read the stack of each thread; ``idents``: thread pointer -> thread id. Torn ones are left out."""
    names = {one.ident: one.name for one in threads.threads(objects) if one.ident}
    found = []
    for state in states(objects):
        words = objects.memory.words(state, WORDS)
        ident = _ident(words, idents)
        if ident is None:
            continue
        innermost = top(objects, words)
        found.append(
            Stack(
                pid=objects.pid,
                tid=idents[ident],
                ident=ident,
                thread=names.get(ident),
                frames=tuple(read(objects, innermost)) if innermost else (),
            )
        )
    return tuple(found)


def tid_of(objects: PyObjects, state: int, idents: Mapping[int, int]) -> int | None:
    """Tell the thread of a PyThreadState."""
    ident = _ident(objects.memory.words(state, WORDS), idents)
    return None if ident is None else idents[ident]


def _ident(words: tuple[int, ...], idents: Mapping[int, int]) -> int | None:
    return next((word for word in words if word in idents), None)


def states(objects: PyObjects) -> Iterator[int]:
    """Yield the PyThreadState of each thread of the first interpreter, the newest first.

    They are a list: {prev, next, interp} from 3.4 on, {next, interp} in 2.7.
    """
    memory, layout = objects.memory, objects.layout
    link = 0 if layout.version < (3,) else 8
    at = memory.word(objects.interpreter + layout.interpreter_threads) or 0
    seen: set[int] = set()
    while at and at not in seen and len(seen) < MOST_THREADS:
        if memory.word(at + layout.thread_interpreter) != objects.interpreter:
            return
        seen.add(at)
        yield at
        at = memory.word(at + link) or 0


def top(objects: PyObjects, words: tuple[int, ...]) -> int | None:
    """Find the innermost frame among the words of a PyThreadState.

    Up to 3.10 it points to a frame object; in 3.11 and 3.12 to a _PyCFrame on the C stack, whose first or
    second word is the frame; from 3.13 on to the frame again. What it points to has a code object.
    """
    for word in words[2:16]:  # after next and interp; before the fields of tracing and exceptions
        if word < 1 << 16 or word % 8:
            continue
        if objects.layout.has_frame_object:
            if objects.is_a(word, "frame"):
                return word
            continue
        for one in (word, *objects.memory.words(word, 2)) if objects.version < (3, 13) else (word,):
            if one % 8 == 0 and (frames.frame_at(objects, one) or frames.is_between(objects, one)):
                return one
    return None


def read(objects: PyObjects, innermost: int) -> Iterator[Frame]:
    """Yield the frame at an address and those that called it, with their variables."""
    for frame, entry in frames.walk(objects, innermost):
        seen = frame_of(objects, frames.describe(objects, frame))
        yield replace(seen, entry=entry, entered=entered.entered(objects, frame))


def frame_of(objects: PyObjects, each: TaskFrame) -> Frame:
    """Show a frame as py-spy does, its variables by their values."""
    return Frame(
        function=each.where.function,
        file=each.where.file,
        line=each.where.line,
        locals=tuple(
            Local(name=name, value=_shown(objects, name, address), address=address)
            for name, address in each.locals
        ),
    )


def _shown(objects: PyObjects, name: str, address: int) -> str:
    """Write a variable as py-spy does; what has a secret's name is not even read."""
    if redact.is_secret_name(name):
        return redact.MASK
    kind = objects.type_of(address)
    if kind is None:
        return "?"
    if kind.name == "NoneType":
        return "None"
    if kind.name in ("bool", "int", "long"):
        number = objects.integer(address)
        return "?" if number is None else str(bool(number) if kind.name == "bool" else number)
    if kind.name in ("str", "unicode"):
        text = objects.text(address)
        return "?" if text is None else redact.variable(name, f'"{text[:_LONGEST_TEXT]}"')
    return f"<{kind.name} at {address:#x}>"
