"""The file-lock part of the wait graph, grown step by step by ``investigate.locks``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.investigate import lock_holds
from diag.investigate.lock_files import id_of
from diag.investigate.lock_requests import Blocked
from diag.model.facts import Evidence
from diag.model.graph import Hold
from diag.waits import soft_lock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.collectors.descriptors import Descriptor
    from diag.collectors.file_locks import FileLock
    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_files import LockFiles
    from diag.model.graph import Resource, Wait

MOST_ADOPTED = 32
"""Locks nobody asked about that are looked at because stacks name them: a pass over all descriptors each."""


class LockGraph:
    """Locks, their keepers and their waiters, from one read of /proc/locks."""

    def __init__(self, inquiry: Inquiry, files: LockFiles, elsewhere: Sequence[FileLock] = ()) -> None:
        self.inquiry = inquiry
        self.targets = files.targets
        self.files = files
        self.table = files.table
        self.elsewhere = tuple(elsewhere)  # of the rest of the host, taken in when a stack names one
        self.waits: list[Wait] = []
        self.unnamed = 0  # requests of which nobody can tell who made them
        self.soft: dict[str, tuple[Hold, ...]] = {}  # locks by existence, by path
        self.stamps: dict[tuple[int, int], bytes] = {}  # of SQLite files: changes with each commit
        self._holds: dict[int, tuple[Hold, ...]] = {}
        self._adopted: set[tuple[int, int]] = set()

    @property
    def descriptors(self) -> tuple[Descriptor, ...]:
        """Every descriptor on the files of the locks and on the asked files."""
        return self.files.descriptors

    def held(self) -> tuple[FileLock, ...]:
        """Locks that matter: those asked for, and those that somebody waits for."""
        waited = {lock.number for lock in self.table if lock.depth}
        return tuple(
            lock
            for lock in self.table
            if lock.depth == 0
            and (self.files.is_asked(lock) or lock.number in waited or id_of(lock) in self._adopted)
        )

    def resource_of(self, lock: FileLock) -> Resource:
        """Name a lock, with its path where that is known."""
        return self.files.resource_of(lock)

    def holds(self, lock: FileLock) -> tuple[Hold, ...]:
        """Everyone who keeps a lock, the process that took it first."""
        if lock.number not in self._holds:
            self._holds[lock.number] = lock_holds.find(self.inquiry, self.files, lock)
        return self._holds[lock.number]

    def all_holds(self) -> tuple[Hold, ...]:
        """Everyone who keeps any lock that matters."""
        soft = (hold for holds in self.soft.values() for hold in holds)
        return (*(hold for lock in self.held() for hold in self.holds(lock)), *soft)

    def holds_of(self, resource: Resource) -> tuple[Hold, ...]:
        """Everyone who keeps a lock that has this name."""
        return tuple(hold for hold in self.all_holds() if hold.resource.key == resource.key)

    def openers_as_holds(self, resource: Resource, waiter: int) -> tuple[Hold, ...]:
        """Who has a file open that is a lock by existence: most programs that make one keep it open."""
        if resource.kind != "soft-lock":
            return ()
        return tuple(
            Hold(
                holder=self.inquiry.actor(item.pid),
                resource=resource,
                fd=item.fd,
                certain=False,
                evidence=(Evidence(source=f"/proc/{item.pid}/fd/{item.fd}", text=item.path),),
            )
            for item in self.descriptors
            if item.path == resource.path and item.pid != waiter and not item.deleted
        )

    def asked_waits(self) -> tuple[Wait, ...]:
        """The waits for locks that the user asked for."""
        keys = {self.resource_of(lock).key for lock in self.held() if self.files.is_asked(lock)}
        files = {(target.lock_device, target.lock_inode) for target in self.targets}
        return tuple(
            wait
            for wait in self.waits
            if not self.targets
            or wait.resource.kind == "soft-lock"
            or (wait.resource.device, wait.resource.inode) in files
            or wait.resource.key in keys
            or any(hold.resource.key in keys for hold in wait.holds)
        )

    def blocking(self, wait: Wait) -> tuple[FileLock, ...]:
        """The held locks that stand in the way of a wait."""
        keys = {wait.resource.key, *(hold.resource.key for hold in wait.holds)}
        return tuple(lock for lock in self.held() if self.resource_of(lock).key in keys)

    def add_blocked(self) -> None:
        """Link every thread that sleeps in the kernel for one of the locks."""
        blocked = Blocked(self.inquiry, self)
        self.waits.extend(blocked.waits())
        self.unnamed = blocked.unnamed

    def replace(self, old: Wait, new: Wait) -> None:
        """Put a wait that is known better in the place of what was known."""
        self.waits[self.waits.index(old)] = new

    # -- what pollers ask ----------------------------------------------------------------------

    def polled_paths(self) -> dict[str, Resource]:
        """Every name of every asked lock, and of asked files that may be locks by existence."""
        found: dict[str, Resource] = {}
        for lock in self.held():
            if self.files.is_asked(lock):
                found.update(dict.fromkeys(self.files.names_of(lock), self.resource_of(lock)))
        for target in self.targets:
            if target.form in ("file", "directory"):
                soft = soft_lock.resource_of(target.path)
                for name in target.names:
                    found.setdefault(name, soft)
        found.update((path, soft_lock.resource_of(path)) for path in self.soft if path not in found)
        return found

    def adopt(self, path: str) -> Resource | None:
        """Take a path that a stack names into the graph; None when nobody holds a lock on it."""
        try:
            file = self.inquiry.host.identity(path)
        except OSError:
            return None
        wanted = (file.lock_device, file.lock_inode)
        if wanted not in self._adopted and not any(id_of(lock) == wanted for lock in self.table):
            more = [lock for lock in self.elsewhere if id_of(lock) == wanted]
            if not more or len(self._adopted) >= MOST_ADOPTED:
                return None
            self.files.look_at(self.inquiry.host, more, (file.device, file.inode))
            self.table = (*self.table, *more)
        lock = next((lock for lock in self.table if lock.depth == 0 and id_of(lock) == wanted), None)
        if lock is None:
            return None
        self._adopted.add(wanted)
        return self.resource_of(lock)

    def set_holds(self, lock: FileLock, holds: tuple[Hold, ...]) -> None:
        """Put holds that are known better in the place of what was known, in the waits too."""
        self._holds[lock.number] = holds
        fresh = {(hold.holder.pid, hold.resource.key, hold.fd): hold for hold in holds}
        for wait in list(self.waits):
            known = tuple(
                hold if hold.taken_at else fresh.get((hold.holder.pid, hold.resource.key, hold.fd), hold)
                for hold in wait.holds
            )
            self.replace(wait, replace(wait, holds=known))
