"""What the reader must find in a process that runs tests/programs/objects_locks.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import locks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.collectors.pyobjects import PyObjects
    from diag.model.pyobjects import LockObject

ACQUIRED = ("taken", "rlock", "mp_lock", "simple", "thread")


def lock(objects: PyObjects, said: Mapping[str, int], name: str) -> LockObject:
    """Describe a lock that the program named."""
    found = locks.describe(objects, said[name])
    assert found, name
    return found


def check_states(objects: PyObjects, said: Mapping[str, int]) -> None:
    """Every lock is taken or free, owned and counted as the program has it."""

    def state(name: str) -> tuple[str, bool | None, int | None, int | None]:
        found = lock(objects, said, name)
        return found.kind, found.locked, found.owner_ident, found.count

    main = said["ident_main"]
    assert state("free") == ("lock", False, None, None)
    assert state("taken") == ("lock", True, None, None)
    assert state("rlock") == ("rlock", True, main, 2)
    assert state("free_rlock") == ("rlock", False, None, 0)
    assert (state("semaphore")[3], state("empty")[3]) == (2, 0)
    assert (state("set_event")[3], state("event")[3]) == (1, 0)
    assert state("mp_lock")[:3] == ("semlock", True, main)
    assert state("mp_rlock")[2] == main
    assert state("mp_free") == ("semlock", False, None, 1)
    assert state("mp_semaphore")[3] == 5


def check_words(objects: PyObjects, said: Mapping[str, int], words: Mapping[str, int]) -> None:
    """Every word that a thread sleeps on belongs to the lock it wants, and to no other."""
    seen = {name: lock(objects, said, name) for name in words}
    for name, word in words.items():
        parked = locks.parked_on(objects, word) or 0
        how = {
            other: locks.waited_on(one, word) or locks.waited_on(one, parked) for other, one in seen.items()
        }
        assert how.pop(name) == ("acquire" if name in ACQUIRED else "notify"), f"{name}: {seen[name]}"
        assert not any(how.values()), f"{name}: {how}"
