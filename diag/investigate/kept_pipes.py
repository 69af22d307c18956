"""Pipes that are read to their end, and kept open by who has only inherited the write end.

A read ends when the last copy of the write end is closed. A daemon that a child left behind, or a sibling
that was started meanwhile, has such a copy without knowing of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.collectors import open_files
from diag.collectors import process as processes
from diag.collectors.pyobjects import files
from diag.model.facts import Evidence
from diag.model.graph import How
from diag.waits.lock_sites.places import is_stdlib

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.collectors.pyobjects import PyObjects
    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Frame, Stack
    from diag.model.graph import Wait
    from diag.model.snapshot import SeenThread

_STANDARD = 2  # stdin, stdout and stderr: descriptors that a program knows of without being told
_TO_THE_END = re.compile(rb"\.(?:read|readlines)\(\s*\)|\bcommunicate\(")
"""Code that does not go on before the end of what it reads."""
_PIPES = ("stdout", "stderr")


class _Ended(NamedTuple):
    """The child whose output is read, which has ended."""

    pid: int
    evidence: Evidence
    certain: bool = True


def refine(inquiry: Inquiry, threads: Sequence[SeenThread]) -> list[SeenThread]:
    """Mark the waits for pipes that none but such processes have open."""
    return [replace(seen, wait=_marked(inquiry, seen)) if _reads(seen) else seen for seen in threads]


def _reads(seen: SeenThread) -> bool:
    wait = seen.wait
    return (
        wait is not None
        and wait.resource.kind == "pipe"
        and wait.resource.mode == "read"
        and wait.how is How.BLOCKED
        and wait.fd is not None
        and bool(wait.holds)
        and all(hold.holder.pid != seen.process.pid for hold in wait.holds)
    )


def _marked(inquiry: Inquiry, seen: SeenThread) -> Wait | None:
    wait = seen.wait
    assert wait is not None
    ended = _ended(inquiry, seen) if wait.fd != 0 else _from_parent(inquiry, seen)
    if ended is None:
        return wait
    holds = tuple(
        replace(
            hold,
            inherited=True,
            taker=ended.pid,
            certain=ended.certain,
            evidence=(*hold.evidence, ended.evidence),
        )
        for hold in wait.holds
    )
    return replace(wait, holds=holds, evidence=(*wait.evidence, ended.evidence))


def _ended(inquiry: Inquiry, seen: SeenThread) -> _Ended | None:
    """The child that wrote the pipe, if it has ended: by the Popen object, else by what is left of it."""
    assert seen.wait
    if seen.stack and seen.stack.frames and not _reads_to_the_end(inquiry, seen.stack):
        return None
    family = processes.family(inquiry.host, seen.process.pid)
    if seen.stack and seen.stack.frames:
        number, lives = _of_popen(inquiry, seen, seen.stack, family)
        if number:
            text = f"the Popen object of pid {number}, which has ended"
            found = Evidence(source=f"/proc/{seen.process.pid}/mem", text=text)
            return None if lives else _Ended(number, found)
    holders = [hold.holder for hold in seen.wait.holds]
    if any(one.pid in family for one in holders):
        return None
    zombies = [one for pid in family if (one := inquiry.process(pid)) and one.state in "ZX"]
    first = min(one.started for one in holders)
    for zombie in zombies:
        if zombie.ppid == seen.process.pid and zombie.started <= first:
            text = f"state {zombie.state}, parent {zombie.ppid}: pid {zombie.pid} ({zombie.name}) has ended"
            found = Evidence(source=f"/proc/{zombie.pid}/stat", text=text)
            return _Ended(zombie.pid, found, certain=False)
    return _of_group(inquiry, seen, first)


def _of_group(inquiry: Inquiry, seen: SeenThread, first: int) -> _Ended | None:
    """A job of this process's own group, begun after it, whose parent is gone: that was a child."""
    assert seen.wait
    group = processes.group(inquiry.host, seen.process.pid)
    pids = [hold.holder.pid for hold in seen.wait.holds]
    if first < seen.process.started or any(processes.group(inquiry.host, pid) != group for pid in pids):
        return None
    if any(_has_parent_in(inquiry, pid, group) for pid in pids):
        return None
    found = Evidence(
        source=f"/proc/{pids[0]}/stat", text=f"in process group {group} as its reader is, but no child of it"
    )
    return _Ended(0, found, certain=False)


def _has_parent_in(inquiry: Inquiry, pid: int, group: int | None) -> bool:
    process = inquiry.process(pid)
    return process is None or processes.group(inquiry.host, process.ppid) == group


def _of_popen(inquiry: Inquiry, seen: SeenThread, stack: Stack, family: Sequence[int]) -> tuple[int, bool]:
    """The child of the Popen object whose output is read, and whether it lives; 0 where none is found."""
    objects = inquiry.objects(seen.process.pid)
    living = {
        one.container_pid or one.pid
        for pid in family
        if (one := inquiry.process(pid)) and one.ppid == seen.process.pid and one.state not in "ZX"
    }
    for address in _popens(objects, stack.frames) if objects else ():
        assert objects is not None
        number = objects.integer(objects.attribute(address, "pid") or 0)
        fds = _fds(objects, address)
        if number and seen.wait and (not fds or seen.wait.fd in fds):
            return number, number in living
    return 0, False


def _reads_to_the_end(inquiry: Inquiry, stack: Stack) -> bool:
    sources = inquiry.sources(stack)
    for frame in stack.frames:
        if frame.file.endswith("/subprocess.py") and "communicate" in frame.function:
            return True
        source = sources.get(frame.file)
        lines = source.text.split(b"\n") if source else []
        if 0 < frame.line <= len(lines) and _TO_THE_END.search(lines[frame.line - 1]):
            return True
        if not frame.native and not is_stdlib(frame.file):
            return False
    return False


def _popens(objects: PyObjects, frames: Sequence[Frame]) -> Iterator[int]:
    """Yield the objects that stand for a child and its pipes: variables, and attributes of a self."""
    for frame in frames:
        for local in frame.locals:
            inner = objects.attributes(local.address)
            for address in (local.address, *inner.values()):
                known = objects.attributes(address)
                if "pid" in known and "stdout" in known:
                    yield address
        if not frame.native and not is_stdlib(frame.file):
            return


def _fds(objects: PyObjects, popen: int) -> set[int]:
    """The descriptors of its pipes."""
    streams = (objects.attribute(popen, name) for name in _PIPES)
    found = (files.describe(objects, stream) for stream in streams if stream)
    return {file.fd for file in found if file and file.fd is not None}


def _from_parent(inquiry: Inquiry, seen: SeenThread) -> _Ended | None:
    """Who has the write end of a program's standard input, when its parent has closed it: siblings only."""
    process, wait = seen.process, seen.wait
    assert wait is not None
    for hold in wait.holds:
        sibling = inquiry.process(hold.holder.pid)
        if sibling is None or sibling.ppid != process.ppid:
            return None
        fds = _on(inquiry, sibling.pid, wait.resource.key)
        # A program knows of other descriptors than the first three only if it was told their numbers.
        if (
            not fds
            or min(fds) <= _STANDARD
            or any(str(fd) in argument for fd in fds for argument in sibling.argv)
        ):
            return None
    one, fds = wait.holds[0].holder, _on(inquiry, wait.holds[0].holder.pid, wait.resource.key)
    if not fds:
        return None
    text = f"{wait.resource.name} is open for writing in pid {one.pid} ({one.process}) only"
    found = Evidence(source=f"/proc/{one.pid}/fd/{min(fds)}", text=text)
    return _Ended(0, found, certain=False)


def _on(inquiry: Inquiry, pid: int, key: str) -> list[int]:
    """The descriptors of a process on one pipe."""
    inode = key.rpartition(":")[2]
    try:
        names = inquiry.host.names(f"/proc/{pid}/fd")
    except OSError:
        return []  # it has ended
    found = (open_files.collect(inquiry.host, pid, int(name)) for name in names)
    return [file.fd for file in found if file and file.target == f"pipe:[{inode}]"]
