"""Which kernel thread a Python thread is, where py-spy does not know or names it as its container does.

Without a stop py-spy finds no kernel thread id below Python 3.11, and from 3.11 on it reports the id that
the thread itself sees: in a container that is not the reader's (measured with py-spy 0.4.3).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors.process import parse_stat, parse_status

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from diag.host import Host
    from diag.model.facts import Process, Stack

BLOCK = 0x400
"""Bytes of the C library's struct pthread that are searched."""
_KNOWN = (0x2D0, 0xD0, 0x30)  # where its tid lies: glibc on x86-64, glibc on aarch64, musl


def resolve(host: Host, process: Process, stacks: Sequence[Stack]) -> tuple[Stack, ...]:
    """Give each stack the thread id of the reader's pid namespace, as far as it can be found."""
    tasks = tasks_of(host, process.pid)
    if all(stack.tid in tasks for stack in stacks) and process.container_pid is None:
        return tuple(stacks)
    outer = {inner: tid for tid, (inner, _) in tasks.items()}
    inner = [stack.tid if stack.tid in outer else None for stack in stacks]
    if None in inner:
        inner = _from_memory(host, process.pid, stacks, outer)
    found = []
    for stack, own in zip(stacks, inner, strict=True):
        tid = outer.get(own) if own is not None else None
        # py-spy calls a thread active when it could not find its state.
        runs = tid is not None and tasks[tid][1] == "R"
        found.append(replace(stack, tid=tid, active=runs or stack.owns_gil))
    return tuple(found)


def tasks_of(host: Host, pid: int) -> dict[int, tuple[int, str]]:
    """Every thread: its id for the reader -> its id in its own namespace, and its state."""
    found = {}
    try:
        names = host.names(f"/proc/{pid}/task")
    except OSError:
        return {}
    for name in names:
        try:
            found[int(name)] = _task(host, f"/proc/{pid}/task/{name}", name)
        except OSError:
            continue  # it has just ended
    return found


def _task(host: Host, base: str, name: str) -> tuple[int, str]:
    status = parse_status(host.read(f"{base}/status", 1 << 16).decode("utf-8", "replace"))
    state = parse_stat(host.read(f"{base}/stat", 1 << 12).decode("utf-8", "replace"))["state"]
    return int((status.get("NSpid") or name).split()[-1]), state


def _from_memory(host: Host, pid: int, stacks: Sequence[Stack], tids: Mapping[int, int]) -> list[int | None]:
    """Read the ids from the C library's thread descriptors, to which Python's thread idents point."""
    if len(stacks) == len(tids) == 1:
        return [next(iter(tids))]
    blocks = [_read(host, pid, stack.ident) for stack in stacks]
    return find_tids(blocks, frozenset(tids))


def tid_in(block: bytes, tids: Container[int]) -> int | None:
    """Find the thread that a C library's thread descriptor is of; ``block``: its first 1,024 bytes."""
    values = (struct.unpack_from("=i", block, offset)[0] for offset in _KNOWN if len(block) == BLOCK)
    return next((value for value in values if value in tids), None)


def find_tids(blocks: Sequence[bytes], tids: frozenset[int]) -> list[int | None]:
    """Find the offset at which every block holds the id of another living thread.

    The layout is tried, not looked up by version: only the right offset makes sense for all threads.
    """
    full = [block for block in blocks if len(block) == BLOCK]
    offsets = _KNOWN if len(full) < 2 else (*_KNOWN, *range(0, BLOCK, 4))
    for offset in offsets:
        values = [struct.unpack_from("=i", block, offset)[0] for block in full]
        if values and len(set(values)) == len(values) and tids.issuperset(values):
            at = iter(values)
            return [next(at) if len(block) == BLOCK else None for block in blocks]
    return _of_the_living(blocks, tids)


def _of_the_living(blocks: Sequence[bytes], tids: frozenset[int]) -> list[int | None]:
    """The same where some blocks are of threads that are gone: those of the parent, in a forked child of 2.7.

    Every living thread must be found once.
    """
    for offset in _KNOWN:
        values = [struct.unpack_from("=i", b, offset)[0] if len(b) == BLOCK else None for b in blocks]
        living = [value for value in values if value in tids]
        if living and len(living) == len(tids) == len(set(living)):
            return [value if value in tids else None for value in values]
    return [None] * len(blocks)


def _read(host: Host, pid: int, address: int) -> bytes:
    try:
        return host.read_at(f"/proc/{pid}/mem", address, BLOCK)
    except OSError:
        return b""
