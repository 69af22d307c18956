"""Ranks the libraries that may have damaged what the interpreter or the allocator stumbled over. Pure.

The code that died is the victim. Who released what it did not own, or wrote past its end, was at work before
that, most likely while another thread ran: so code that let go of the interpreter lock in the middle of its
work comes first. The interpreter and the allocators are never suspects.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.model.core import Suspect
from diag.rules import core_code as code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.damage import Damage, LibraryUse
    from diag.model.facts import Frame
    from diag.model.snapshot import SeenThread, Snapshot

    Reason = tuple[int, str]

_ASKS_FOR_GIL = re.compile(
    r"take_gil|PyEval_(?:RestoreThread|AcquireThread|AcquireLock)|_?PyThreadState_(?:Attach|Swap)|PyGILState_Ensure"
)
_FREES = re.compile(r"\w*_?dealloc|_Py_Dealloc|_?Py_X?DECREF|PyObject_GC_Del|_?PyObject_Free|subtype_dealloc")
MOST = 8
_NAMED = 3  # functions that a reason names


def rank(snapshot: Snapshot) -> tuple[Suspect, ...]:
    """Return the suspects, the likeliest first, each with what speaks for it; none where no Python runs."""
    modules = snapshot.core.modules if snapshot.core else ()
    if not any(code.is_interpreter_file(module.path) for module in modules):
        return ()
    best: dict[str, Suspect] = {}
    for seen in snapshot.threads:
        for one in _on_stack(seen, dies=seen is code.dying(snapshot)):
            known = best.get(one.library)
            # Of its frames in one go the outermost counts: what Python called, not what the compiler inlined.
            outer = known is not None and (known.tid, known.score) == (one.tid, one.score)
            if known is None or one.score > known.score or outer:
                best[one.library] = one
    past = {one.library for one in snapshot.damage.past} if snapshot.damage else set()
    for module in modules:
        if module.path not in best and (code.is_module(module.path) or module.path in past):
            best[module.path] = Suspect(library=module.path, why=("no thread was in it at that moment",))
    if snapshot.damage:
        best = {path: _with_traces(one, snapshot.damage) for path, one in best.items()}
    ranked = sorted(best.values(), key=lambda one: (-one.score, one.library))
    return tuple(ranked[:MOST])


def _with_traces(one: Suspect, damage: Damage) -> Suspect:
    """Add what the dead part of the stacks and the file itself tell of a suspect."""
    use = damage.use(one.library)
    calls = [call for call in damage.past_of(one.library) if call.by_python and call.function != "?"]
    reasons: list[Reason] = []
    if calls and one.score <= 0:
        # They were in it, which need not mean that it was one of these calls that did the damage.
        names = ", ".join(dict.fromkeys(call.function for call in calls[-_NAMED:]))
        tid = calls[-1].tid
        reasons.append((3, f"thread {tid} had been in it before: its dead stack still shows {names}"))
        one = replace(one, function="", tid=tid)
    reasons += _by_its_callers(one, damage)
    reasons += _by_its_file(use)
    return replace(
        one,
        score=max(one.score + sum(points for points, _ in reasons), 0),
        why=(*one.why, *(why for _, why in reasons)),
    )


def _by_its_callers(one: Suspect, damage: Damage) -> Iterator[Reason]:
    """What the names in the byte code of functions at work tell."""
    callers = sorted(
        (call for call in damage.callers if call.library == one.library), key=lambda call: not call.has_freed
    )
    if callers:
        call = callers[0]
        names = ", ".join(call.names[:_NAMED])
        if call.has_freed:
            has = "whose variable leads to an object that was freed too early"
            yield 4, f"{call.place}, {has}, calls it ({names})"
        else:
            yield 1, f"{call.place}, which was at work, calls it ({names})"


def _by_its_file(use: LibraryUse | None) -> Iterator[Reason]:
    """What the names tell that a library asks the dynamic linker for."""
    if use is None:
        return
    if not use.python:
        yield -3, "it does not use Python's C interface: it has no references to release"
        return
    if use.made_by:
        yield -2, f"its C code was made by {use.made_by}, which counts references itself"
    elif not use.packaged and ".so" in code.base_name(use.library):
        yield 2, "it is no part of an installed package"
    if use.lets_go:
        yield 1, f"it can let go of the interpreter lock ({use.lets_go[0]})"
    if use.borrows:
        yield 1, f"it is given borrowed references ({', '.join(use.borrows[:_NAMED])})"


def _on_stack(seen: SeenThread, *, dies: bool) -> Iterator[Suspect]:
    """Yield the extensions on one stack by the function that was called from outside of each.

    Those that Python had called count: the outermost frames are who started it.
    """
    frames = seen.stack.frames if seen.stack else ()
    frames = code.at_fault(frames) if dies else frames
    for number, frame in enumerate(frames):
        if not frame.native or not code.is_extension(frame.library):
            continue
        if frames[number + 1 : number + 2] and frames[number + 1].library == frame.library:
            continue
        assert frame.library
        by_python = any(not outer.native for outer in frames[number + 1 :])
        reasons = list(_reasons(seen, frames[:number], dies=dies, by_python=by_python))
        yield Suspect(
            library=frame.library,
            function="" if frame.function == "?" else frame.function,
            tid=seen.thread.tid,
            score=sum(score for score, _ in reasons),
            why=tuple(why for _, why in reasons),
        )


def _reasons(seen: SeenThread, inner: tuple[Frame, ...], *, dies: bool, by_python: bool) -> Iterator[Reason]:
    if by_python:
        yield 2, "Python code had called it"
    else:
        yield 0, "it runs the interpreter"
        return
    between = [frame for frame in inner if not frame.native]
    if dies and between:
        yield 0, "it is on the stack of the thread that died, with Python code in between"
    elif dies and any(_FREES.fullmatch(frame.function.partition(".")[0]) for frame in inner[:4]):
        yield 4, "the thread that died was releasing an object for it"
    elif dies:
        yield 3, "the thread that died was in it"
    elif not between and any(_ASKS_FOR_GIL.fullmatch(frame.function) for frame in inner):
        yield 5, "it had let go of the interpreter lock in the middle of its work, and now wants it back"
    elif not between and not (seen.stack and seen.stack.owns_gil):
        doing = "waits in the kernel" if seen.thread.syscall is not None else "works"
        yield 4, f"it had let go of the interpreter lock while it {doing}"
    elif not between:
        yield 2, "a thread was in it"
