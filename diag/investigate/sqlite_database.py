"""``diag db`` of a SQLite file: its locks are the kernel's, and its files say the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors import sqlite_state
from diag.errors import DiagError
from diag.investigate import locks
from diag.model.databases import Database, Server
from diag.model.facts import Gap
from diag.rules import phrases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.collectors.sqlite_state import State
    from diag.host import Host
    from diag.model.snapshot import Lock, Snapshot

_BLINDS = frozenset({"L001", "L005", "L006"})
_READS = tuple(f"WAL READ{number}" for number in range(5))
_WRITES = frozenset({"RESERVED", "PENDING", "EXCLUSIVE"})


def look(host: Host, paths: Sequence[str], *, pause: bool) -> Snapshot:
    """Collect who has the databases at ``paths`` locked, and who waits. Raises ``DiagError`` for no file."""
    snapshot = locks.look(host, paths, pause=pause)
    for asked in snapshot.asked:
        if asked.form not in ("file", "missing"):
            raise DiagError(
                f"{asked.path} is a {asked.form}",
                hint="name the file of a SQLite database; of a directory: diag locks PATH",
            )
    states = [(path, sqlite_state.collect(host, path)) for path in paths]
    return replace(
        snapshot,
        databases=tuple(_database(snapshot, path, state) for path, state in states),
        gaps=(*snapshot.gaps, *(_gap(path, state) for path, state in states if not state.readable)),
    )


def _database(snapshot: Snapshot, path: str, state: State) -> Database:
    files = (path, f"{path}-shm")
    own = [lock for lock in snapshot.locks if lock.resource.path in files]
    mode = "WAL" if state.wal else "rollback journal"
    return Database(
        server=Server(
            dsn=f"sqlite://{path}", product="SQLite", version=mode if state.readable else "", socket=path
        ),
        files=files,
        notes=tuple(_notes(snapshot, path, state, own)),
    )


def _notes(snapshot: Snapshot, path: str, state: State, own: Sequence[Lock]) -> Iterator[str]:
    in_use = bool(own) or any(asked.open_by for asked in snapshot.asked if asked.path == path)
    if state.journal and not any(_WRITES & set((lock.resource.part or "").split("+")) for lock in own):
        yield (
            f"{path}-journal ({state.journal} bytes) is hot: a process died in the middle of its "
            "transaction. The next connection rolls it back, for which it has to be able to write; never "
            "delete the journal"
        )
    if state.log and not in_use:
        yield (
            f"{path}-wal ({state.log} bytes) was left behind: nobody has the database open. The next "
            "connection takes over what is committed in it; never delete it"
        )
    elif state.frames:
        yield (
            f"{path}-wal ({state.log} bytes) holds {state.frames} committed pages, {state.copied} of which a "
            "checkpoint has put into the database"
        )
        yield from _held_back(state, own)


def _held_back(state: State, own: Sequence[Lock]) -> Iterator[str]:
    """Name the readers beyond whose state of the database no checkpoint gets."""
    for lock in own:
        part = lock.resource.part
        if part not in _READS or not state.marks or lock.resource.mode != "read":
            continue
        number = _READS.index(part)
        mark = state.marks[number] if number else 0  # READ0 reads the database alone, so nothing may change
        if mark >= state.frames or (number == 0 and state.copied >= state.frames):
            continue
        for hold in lock.holders:
            yield (
                f"{phrases.who(hold.holder)} reads since page {mark} of it was the last"
                f"{phrases.at(hold.taken_at or hold.holder.where)} ({part}): until that transaction ends, no "
                "checkpoint gets further, and the WAL only grows"
            )


def _gap(path: str, state: State) -> Gap:
    return Gap(
        source=path,
        hides="its journal mode, and whether a transaction was left behind",
        reason=state.reason,
        hint="name another file, if it is not the database; the locks are shown all the same"
        if state.foreign
        else "run diag as root, or as the user whose database it is",
        blinds=_BLINDS,
    )
