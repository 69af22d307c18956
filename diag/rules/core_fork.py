"""The part of C010 that a core tells: a forked child died, or waits for ever, in a library that forks badly.

Pure. That a process was forked without exec shows where Python forked it: the frames of that moment are
still on its main thread's stack. And a process of one thread that sleeps in a lock of a library which does
its work by threads can only wait for threads that it does not have.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Library, Severity
from diag.rules import core_causes as causes
from diag.rules import core_code as code
from diag.rules.known import Known, forked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.facts import Frame
    from diag.model.snapshot import SeenThread, Snapshot

_OPENMP = Known(
    name="openmp-fork",
    cause="OpenMP was in use before the fork, and its team of threads does not exist in the child",
    fix="use it only after the fork, start workers by spawn or forkserver, or set OMP_NUM_THREADS=1",
    reference="GCC bug 60035",
    library=r"libgomp[.-]",
)
_KNOWN = (_OPENMP, *(entry for entry in forked.ENTRIES if entry.library))
_WORKS_BY_THREADS = (_OPENMP.name, "grpc-fork", "librdkafka-fork")
_FORKED = "its main thread's stack shows the fork"
_ALONE = "it has one thread and sleeps on a lock of the library: who would wake it does not exist in it"


def check(snapshot: Snapshot, rule: str, slug: str) -> Iterator[Finding]:
    """Yield at most one finding: of the thread that died, or of one that waits."""
    if snapshot.core is None:
        return
    dying = code.dying(snapshot)
    died = dying is not None and causes.cause(snapshot) is not None
    for seen in (dying,) if died and dying else snapshot.threads:
        entry = _met(seen, dies=died)
        proof = _proof(snapshot, seen, entry, dies=died) if entry else None
        if entry and proof:
            yield _finding(snapshot, seen, entry, proof, (rule, slug))
            return


def _met(seen: SeenThread, *, dies: bool) -> Known | None:
    """The known library that a thread is in: its innermost frames outside of the C library."""
    frame = _inside(seen, dies=dies)
    name = code.base_name(frame.library) if frame else ""
    return next((entry for entry in _KNOWN if entry.library and re.match(entry.library, name)), None)


def _inside(seen: SeenThread, *, dies: bool) -> Frame | None:
    frames = seen.stack.frames if seen.stack else ()
    frames = code.at_fault(frames) if dies else frames
    return next((one for one in frames[:16] if one.native and not code.is_system(one.library or "")), None)


def _proof(snapshot: Snapshot, seen: SeenThread, entry: Known, *, dies: bool) -> str | None:
    assert snapshot.core is not None
    if snapshot.forked_at:
        return f"{_FORKED} ({snapshot.forked_at})" if dies or _sleeps(seen) else None
    alone = len(snapshot.core.threads) == 1 and entry.name in _WORKS_BY_THREADS
    return _ALONE if alone and not dies and _sleeps(seen) else None


def _sleeps(seen: SeenThread) -> bool:
    call = seen.thread.syscall
    return call is not None and call.name == "futex" and not call.arguments[3]


def _finding(
    snapshot: Snapshot, seen: SeenThread, entry: Known, proof: str, name: tuple[str, str]
) -> Finding:
    core = snapshot.core
    assert core is not None
    died = causes.cause(snapshot) is not None
    frame = _inside(seen, dies=died)
    library = code.base_name(frame.library if frame else None)
    what = "died" if died else "waits for ever"
    frames = seen.stack.frames if seen.stack else ()
    return Finding(
        code=name[0],
        slug=name[1],
        summary=f"pid {core.pid} ({core.name}), a forked child, {what} in {library}: {entry.cause}",
        severity=Severity.CRITICAL,
        confidence=Confidence.LIKELY,
        culprit=Library(library=library, symbol=frame.function if frame and frame.function != "?" else None),
        victims=(seen.wait.waiter,) if seen.wait else (),
        evidence=tuple(causes.frames(core, seen.thread.tid, code.at_fault(frames) if died else frames)),
        against=(f"that the library was in use before the fork is inferred: {proof}",),
        remedy=(
            f"now: {entry.fix} (see {entry.reference})",
            "in the code: make handles, pools and contexts of it only in the worker, after the fork",
        ),
    )
