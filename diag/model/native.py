"""Locks of the C library, as they lie in memory below a thread that sleeps on a futex."""

from __future__ import annotations

from diag.model.facts import Fact


class NativeLock(Fact, frozen=True, kw_only=True):
    """What the futex word of a sleeping thread belongs to, told by its shape and checked for sense."""

    address: int  # of the lock itself, where its futex word is only a part of it
    futex_word: int
    kind: str  # mutex rwlock condition semaphore join stdio low-level unknown
    variant: str = ""  # mutex: normal recursive errorcheck adaptive, with "robust", "pi", "shared"
    owner_tid: int | None = None  # None: nobody, or this kind knows no owner
    owner_ident: int | None = None  # stdio: the owner's pthread_self instead of its tid
    owner_lives: bool | None = None  # whether the owner is a thread of this process; None: no owner
    count: int | None = None  # recursion depth; readers of a rwlock; value of a semaphore
    waiters: int | None = None
    shared: bool = False  # between processes: the owner may be a thread of another one
    mode: str | None = None  # rwlock: what it is held for, "read" or "write"
