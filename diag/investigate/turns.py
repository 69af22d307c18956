"""Whether threads or tasks of one process take turns with a lock, or one of them keeps it from the others.

To the kernel all of them are one holder: its table looks the same whoever has the lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.file_locks import parse_fdinfo
from diag.investigate import lock_lines, suspended
from diag.investigate.lock_files import id_of
from diag.model.graph import How

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_graph import LockGraph
    from diag.model.facts import Stack
    from diag.model.graph import Actor, Hold, Wait

    Key = tuple[int, str, int | None]

_TORN = 3
"""Readings at one look, at most: what is read of a process that runs may be torn."""


class Turns:
    """Watches the locks for which somebody waits in the process that holds them."""

    def __init__(self, inquiry: Inquiry, graph: LockGraph) -> None:
        self._inquiry, self._graph = inquiry, graph
        self._holds: dict[Key, Hold] = {}
        self._changed: set[Key] = set()
        self._again: dict[Key, Wait] = {}  # waits for what the waiting thread itself has taken
        for wait in graph.waits:
            process = inquiry.process(wait.waiter.pid)
            if wait.resource.part or process is None or (process.threads == 1 and not wait.waiter.task_id):
                continue
            for hold in wait.holds:
                if hold.holder.pid == wait.waiter.pid and not hold.passive:
                    self._holds[_key(hold)] = hold
                    if wait.retaken:
                        self._again[_key(hold)] = wait
                    elif wait.how is How.POLLING and _is_same(hold.holder, wait.waiter):
                        self._changed.add(_key(hold))  # it got the lock between two looks

    def look(self) -> None:
        """Look whether each lock is still held through the same descriptor, by the same code."""
        left = self._holds.keys() - self._changed
        self._changed |= {key for key in left if not self._is_held(self._holds[key])}
        undecided = left - self._changed
        for _ in range(_TORN):
            for pid in sorted({pid for pid, _, _ in undecided}):
                mine = {key for key in undecided if key[0] == pid}
                fresh = self._fresh(pid, [self._holds[key] for key in mine])
                answers = {key: self._has(key, fresh) for key in mine}
                self._changed |= {key for key, has in answers.items() if has is False}
                undecided -= {key for key, has in answers.items() if has is not None}
        self._changed |= undecided

    def taken(self, wait: Wait) -> bool:
        """Whether what a thread or task waits for was seen to go from one of its process to another."""
        return any(_key(hold) in self._changed for hold in wait.holds)

    def _is_held(self, hold: Hold) -> bool:
        if hold.fd is None:
            return True
        try:
            text = self._inquiry.host.read(f"/proc/{hold.holder.pid}/fdinfo/{hold.fd}", 1 << 16)
        except PermissionError:
            return True
        except OSError:
            return False
        locks = parse_fdinfo(text.decode("ascii", "replace"))
        return any(lock.kind == hold.resource.lock for lock in locks)

    def _fresh(self, pid: int, holds: Iterable[Hold]) -> dict[int, Stack]:
        """The stacks of the threads and tasks of a process, by number and by address."""
        found: dict[int, Stack] = {}
        if any(hold.holder.task_id for hold in holds):
            found.update((one.address, one.stack) for one in suspended.again(self._inquiry, pid).found)
        else:
            fresh = self._inquiry.fresh_stacks([pid])[pid]
            found.update((stack.tid, stack) for stack in fresh if stack.tid)
        return found

    def _has(self, key: Key, fresh: dict[int, Stack]) -> bool | None:
        """Whether the thread or task that had a lock has it; None: its stack could not be read."""
        hold = self._holds[key]
        if hold.taken_at is None:
            return not hold.holder.task_id and not self._is_polled(key)
        stack = fresh.get(hold.holder.task_id or hold.holder.tid or hold.holder.pid)
        if stack is None or not stack.frames:
            return None
        if wait := self._again.get(key):
            return lock_lines.retaken_at(self._inquiry, wait, stack) == wait.retaken
        files = self._graph.files.locks_at(hold.resource.path)
        locks = [lock for lock in self._graph.held() if id_of(lock) in files]
        names = frozenset(name for lock in locks for name in self._graph.files.names_of(lock))
        return lock_lines.taken_at(self._inquiry, hold, names, stack) == hold.taken_at

    def _is_polled(self, key: Key) -> bool:
        """Whether who waits opens the file for each try: then even the descriptor may be the next one's."""
        return any(
            wait.how is How.POLLING and any(_key(hold) == key for hold in wait.holds)
            for wait in self._graph.waits
        )


def _key(hold: Hold) -> Key:
    return hold.holder.pid, hold.resource.key, hold.fd


def _is_same(holder: Actor, waiter: Actor) -> bool:
    return holder.tid is not None and (holder.tid, holder.task_id) == (waiter.tid, waiter.task_id)
