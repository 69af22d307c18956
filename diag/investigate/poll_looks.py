"""Looks again at threads that poll for something inside a process: each pauses between two tries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.investigate.pollers import LOOKS, PAUSE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Stack
    from diag.model.snapshot import SeenThread


def again(
    inquiry: Inquiry,
    threads: Sequence[SeenThread],
    polls: Callable[[SeenThread], bool],
    stays: Callable[[Inquiry, SeenThread, Stack], bool],
) -> tuple[SeenThread, ...]:
    """Judge the waits of those who poll: stuck while one of several fresh stacks shows that it ``stays``."""
    left = {_key(seen): seen for seen in threads if polls(seen)}
    stuck: set[tuple[int, int]] = set()
    for turn in range(LOOKS):
        if not left:
            break
        if turn:
            inquiry.host.sleep(PAUSE)
        for pid, stacks in inquiry.fresh_stacks({pid for pid, _ in left}).items():
            for stack in stacks:
                key = (pid, stack.tid or pid)
                if key in left and stays(inquiry, left[key], stack):
                    stuck.add(key)
                    del left[key]
    return tuple(
        replace(seen, wait=replace(seen.wait, stuck=_key(seen) in stuck))
        if seen.wait and polls(seen)
        else seen
        for seen in threads
    )


def _key(seen: SeenThread) -> tuple[int, int]:
    return seen.process.pid, seen.thread.tid
