"""Which files the locks of one read of /proc/locks are on: who has them open, what they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors import descriptors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from diag.collectors.descriptors import Descriptor
    from diag.collectors.file_locks import FileLock
    from diag.host import Host
    from diag.investigate.targets import Target
    from diag.model.graph import Resource
    from diag.model.io import SqliteFile

    LockId = tuple[int, int]  # device and inode, as /proc/locks has them

_MOST_FILES = 2000
"""Files of an asked directory that are looked at for locks of others."""
_UNLISTED = 1 << 30
"""Numbers of locks that /proc/locks leaves out begin here: it never has so many."""


class LockFiles:
    """The locks of ``table`` and of the ``targets``, with every descriptor that is open on their files.

    ``more``: files (st_dev, st_ino) with locks on them that the table leaves out.
    """

    def __init__(
        self,
        host: Host,
        targets: Sequence[Target],
        table: Sequence[FileLock],
        more: Iterable[LockId] = (),
    ) -> None:
        self.targets = tuple(targets)
        files = {(t.device, t.inode) for t in self.targets if t.form not in ("missing", "directory")}
        files.update(more)
        # All of them: a deleted file that an asked path once named, and links of a chain, are among them.
        files.update(map(id_of, table))
        self.descriptors, self.denied = descriptors.collect(host, files)
        self.table = (*table, *self._unlisted(table))
        self._paths: dict[LockId, str] = {}
        self._asked: set[LockId] = set()
        self._host = host
        self._forms: dict[LockId, SqliteFile | None] = {}
        self._name_locks()

    def _unlisted(self, table: Sequence[FileLock]) -> list[FileLock]:
        """Find the locks that only their keeper's fdinfo shows, with pid 0 (measured on 6.18).

        In a pid namespace /proc/locks leaves out a lock whose taker is gone or outside, and all who
        wait for it (fs/locks.c, locks_translate_pid): in a container every inherited lock is such.
        """
        from diag.waits import file_lock  # noqa: PLC0415 - not before the pass over all descriptors began

        found: list[FileLock] = []
        for own in (own for item in self.descriptors for own in item.locks if own.pid == 0):
            if not any(file_lock.same(own, known) for known in (*table, *found)):
                found.append(replace(own, number=_UNLISTED + len(found), listed=False))
        return found

    def _name_locks(self) -> None:
        """Give every lock a path, and find out which ones were asked for."""
        by_file = {(t.device, t.inode) for t in self.targets if t.inode}
        for target in self.targets:
            if target.form != "missing":
                self._paths.setdefault((target.lock_device, target.lock_inode), target.path)
                self._asked.add((target.lock_device, target.lock_inode))
        for item in self.descriptors:
            asked = not self.targets or (item.device, item.inode) in by_file or self._covers(item)
            for lock_id in {id_of(lock) for lock in item.locks} or {(item.device, item.inode)}:
                self._paths.setdefault(lock_id, item.path)
                if asked:
                    self._asked.add(lock_id)
        if self.denied:
            self._name_by_directory()

    def _name_by_directory(self) -> None:
        """Name the locks on files of an asked directory whose holders' descriptors may not be seen."""
        left = set(map(id_of, self.table)) - self._paths.keys()
        for target in self.targets:
            if target.form != "directory" or not left:
                continue
            try:
                names = self._host.names(target.path)[:_MOST_FILES]
            except OSError:
                continue
            for path in (f"{target.path.rstrip('/')}/{name}" for name in names):
                try:
                    file = self._host.identity(path)
                except OSError:
                    continue
                if (lock_id := (file.lock_device, file.lock_inode)) in left:
                    self._paths.setdefault(lock_id, path)
                    self._asked.add(lock_id)

    def _covers(self, item: Descriptor) -> bool:
        """Whether a descriptor lies below an asked directory, or was an asked path before deletion."""
        for target in self.targets:
            if target.form == "directory" and any(
                item.path.startswith(name.rstrip("/") + "/") for name in target.names
            ):
                return True
            if target.form in ("missing", "file") and item.deleted and item.path in target.names:
                return True
        return False

    def is_asked(self, lock: FileLock) -> bool:
        """Whether the user asked for this lock, rather than met it on the way."""
        return not self.targets or id_of(lock) in self._asked

    def is_asked_file(self, item: Descriptor) -> bool:
        """Whether a descriptor is open on a file whose locks the user asked for."""
        asked = {(target.device, target.inode) for target in self.targets}
        return not self.targets or not self._asked.union(asked).isdisjoint(ids_of(item)) or self._covers(item)

    def path_of(self, lock: FileLock) -> str | None:
        """The path of a lock, where any descriptor that may be seen tells it."""
        return self._paths.get(id_of(lock))

    def resource_of(self, lock: FileLock) -> Resource:
        """Name a lock, with its path where that is known."""
        from diag.waits import file_lock, sqlite_lock  # noqa: PLC0415 - not before the pass began

        form = self.form_of(lock)
        return file_lock.resource_of(lock, self.path_of(lock), sqlite_lock.name(form, lock) if form else None)

    def form_of(self, lock: FileLock) -> SqliteFile | None:
        """Which of SQLite's files a lock is on, if its bytes are those that SQLite locks."""
        from diag.waits import sqlite_lock  # noqa: PLC0415 - as above

        if not sqlite_lock.may_be(lock):
            return None
        from diag.collectors import sqlite  # noqa: PLC0415

        if id_of(lock) not in self._forms:
            opened = self.open_on(lock)[:1]
            self._forms[id_of(lock)] = next(
                (
                    sqlite.form(
                        self._host, f"/proc/{item.pid}/fd/{item.fd}", item.path, f"/proc/{item.pid}/root"
                    )
                    for item in opened
                ),
                None,
            )
        return self._forms[id_of(lock)]

    def open_on(self, lock: FileLock) -> tuple[Descriptor, ...]:
        """Every descriptor on the file of a lock."""
        return tuple(item for item in self.descriptors if id_of(lock) in ids_of(item))

    def add(self, item: Descriptor) -> None:
        """Take in a descriptor on a file that no table lists."""
        self.descriptors = (*self.descriptors, item)
        self._paths.setdefault((item.device, item.inode), item.path)

    def look_at(self, host: Host, locks: Sequence[FileLock], file: LockId) -> None:
        """Take in the ``locks`` of one more ``file`` (st_dev, st_ino), with every descriptor on it."""
        found, denied = descriptors.collect(host, {file, *map(id_of, locks)})
        self.descriptors = (*self.descriptors, *found)
        self.denied = tuple(sorted({*self.denied, *denied}))
        self.table = (*self.table, *locks)
        for item in found:
            for lock_id in {id_of(lock) for lock in item.locks} or {(item.device, item.inode)}:
                self._paths.setdefault(lock_id, item.path)

    def lock_id(self, item: Descriptor) -> LockId:
        """How /proc/locks would call the file of a descriptor."""
        for target in self.targets:
            if (target.device, target.inode) == (item.device, item.inode):
                return target.lock_device, target.lock_inode
        return min(ids_of(item) - {(item.device, item.inode)}, default=(item.device, item.inode))

    def locks_at(self, path: str | None) -> frozenset[LockId]:
        """The files a path of the targets or of a descriptor stands for, as /proc/locks has them."""
        found = {(t.lock_device, t.lock_inode) for t in self.targets if path in t.names}
        return frozenset(found.union(*(ids_of(item) for item in self.descriptors if item.path == path)))

    def names_of(self, lock: FileLock) -> frozenset[str]:
        """Every path by which somebody knows the file of a lock."""
        names = {item.path for item in self.open_on(lock)}
        if known := self._paths.get(id_of(lock)):
            names.add(known)
        for target in self.targets:
            if id_of(lock) == (target.lock_device, target.lock_inode):
                names.update(target.names)
        return frozenset(names)

    def openers(self, target: Target) -> tuple[int, ...]:
        """The processes that have an asked file open, or a deleted one of its name; locked or not."""
        return tuple(
            sorted(
                {
                    item.pid
                    for item in self.descriptors
                    if (item.device, item.inode) == (target.device, target.inode)
                    or (item.deleted and item.path in target.names)
                }
            )
        )


def unlisted(host: Host) -> frozenset[LockId]:
    """Files with locks that /proc/locks may leave out: in a pid namespace of our own."""
    from diag.collectors import setting  # noqa: PLC0415 - only for all locks, which take longer

    if setting.collect(host).initial_pid_namespace is not False:
        return frozenset()
    from diag.collectors import process as processes  # noqa: PLC0415

    return descriptors.kept(host, processes.pids(host))[0]


def id_of(lock: FileLock) -> LockId:
    """The file a lock is on, as /proc/locks has it."""
    return lock.device, lock.inode


def ids_of(item: Descriptor) -> set[LockId]:
    """The file a descriptor is open on, as stat(2) and as its fdinfo have it."""
    return {id_of(lock) for lock in item.locks} | {(item.device, item.inode)}
