"""What a futex word belongs to: glibc's and musl's mutex, rwlock, condition, semaphore, join.

Layouts: glibc 2.25 to 2.36 and later on 64-bit little-endian (measured on 2.36, facts of nptl/): a
shape is believed only when its fields make sense together, an owner only when it is a thread id.
A thread that sleeps on something else (Go's, Rust's or the JVM's own locks) gives kind "unknown".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.model.native import NativeLock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from diag.host import Host
    from diag.model.facts import Thread

_COMMAND = 0x7F
_PRIVATE = 0x80
_WAIT, _LOCK_PI, _WAIT_BITSET, _LOCK_PI2 = 0, 6, 9, 13
_TID = 0x3FFFFFFF  # FUTEX_TID_MASK
_WAITERS = 0x80000000
_MANY = 1 << 16
_HIGHEST_TID = 1 << 22  # PID_MAX_LIMIT
_AROUND = 48  # bytes read before the word, and twice that after it

_ROBUST, _PI, _PROTECT, _SHARED = 0x10, 0x20, 0x40, 0x80
_ELISION = 0x300
_VARIANTS = {0: "normal", 1: "recursive", 2: "errorcheck", 3: "adaptive"}


class Asked(NamedTuple):
    """One futex call and the memory around its word."""

    word: int
    operation: int
    value: int
    before: bytes  # _AROUND bytes that end at the word; b"" when they cannot be read
    after: bytes  # from the word on
    tids: frozenset[int]

    def here(self, offset: int, form: str) -> tuple[int, ...] | None:
        """Unpack at ``offset`` from the word, which may be negative."""
        data, at = (self.after, offset) if offset >= 0 else (self.before + self.after, _AROUND + offset)
        if (offset < 0 and not self.before) or at + struct.calcsize(form) > len(data):
            return None
        return struct.unpack_from(form, data, at)

    @property
    def is_pi(self) -> bool:
        """Whether the kernel itself hands the lock over (priority inheritance)."""
        return self.operation & _COMMAND in (_LOCK_PI, _LOCK_PI2)


def collect(host: Host, thread: Thread, tids: Collection[int]) -> NativeLock | None:
    """Tell what a thread that sleeps in futex(2) sleeps on; ``tids`` are the threads of its process.

    None when it does not sleep in futex, or its memory cannot be read.
    """
    call = thread.syscall
    if call is None or call.name != "futex" or len(call.arguments) < 3:
        return None
    word, operation, value = call.arguments[:3]
    path = f"/proc/{thread.pid}/mem"
    after = _read(host, path, word, 2 * _AROUND) or _read(host, path, word, 4)
    if not after:
        return None
    before = _read(host, path, word - _AROUND, _AROUND)
    asked = Asked(word, operation & 0xFFFFFFFF, value & 0xFFFFFFFF, before, after, frozenset(tids))
    return interpret(asked)


def _read(host: Host, path: str, address: int, size: int) -> bytes:
    try:
        data = host.read_at(path, address, size) if 4096 <= address < 1 << 56 else b""
    except OSError:
        return b""
    return data if len(data) == size else b""


def interpret(asked: Asked) -> NativeLock:
    """Try each shape in turn, the most telling first."""
    if asked.operation & _COMMAND not in (_WAIT, _WAIT_BITSET, _LOCK_PI, _LOCK_PI2):
        return _lock(asked, 0, "unknown")
    found = (shape(asked) for shape in _SHAPES)
    return next((one for one in found if one), _lock(asked, 0, "unknown"))


def _lock(
    asked: Asked,
    start: int,
    kind: str,
    *,
    owner: int = 0,
    variant: str = "",
    count: int | None = None,
    waiters: int | None = None,
    mode: str | None = None,
) -> NativeLock:
    return NativeLock(
        address=asked.word + start,
        futex_word=asked.word,
        kind=kind,
        variant=variant,
        owner_tid=owner or None,
        owner_lives=owner in asked.tids if owner else None,
        count=count,
        waiters=waiters,
        shared=not asked.operation & _PRIVATE and kind != "join",
        mode=mode,
    )


def _join(asked: Asked) -> NativeLock | None:
    """pthread_join: the word is the thread's own tid, which the kernel clears when it ends."""
    (now,) = asked.here(0, "<I") or (0,)
    if asked.operation & _PRIVATE or asked.value not in asked.tids or now not in (0, asked.value):
        return None
    return _lock(asked, 0, "join", owner=asked.value)


def _mutex(asked: Asked) -> NativeLock | None:
    """Struct __pthread_mutex_s {lock 0, count 4, owner 8, nusers 12, kind 16} (sysdeps/nptl)."""
    found = asked.here(0, "<IIiIi")
    if found is None:
        return None
    word, count, owner, users, kind = found
    is_robust = bool(kind & _ROBUST)
    if kind & ~(3 | _ROBUST | _PI | _PROTECT | _SHARED | _ELISION) or users > _MANY:
        return None
    # A robust mutex's futex is always used as a shared one (nptl/pthread_mutex_lock.c).
    is_shared = bool(kind & (_SHARED | _ROBUST))
    if bool(kind & _PI) != asked.is_pi or is_shared == bool(asked.operation & _PRIVATE):
        return None
    if is_robust or kind & _PI:
        if word & _TID and owner and word & _TID != owner & _TID:
            return None
        owner = word & _TID
    elif asked.value != 2 or word not in (0, 1, 2) or (word and not (users and owner)):
        return None
    if not 0 <= owner < _HIGHEST_TID or count > (_MANY if kind & 3 == 1 else 1):
        return None
    words = [_VARIANTS[kind & 3]]
    words += [name for bit, name in ((_ROBUST, "robust"), (_PI, "pi"), (_SHARED, "shared")) if kind & bit]
    return _lock(
        asked,
        0,
        "mutex",
        owner=owner if word else 0,
        variant=" ".join(words),
        count=count if kind & 3 == 1 else None,
    )


def _rwlock(asked: Asked) -> NativeLock | None:
    """Struct __pthread_rwlock_arch_t {readers 0, writers 4, phase 8, futex 12, writer 24, shared 28}.

    glibc 2.25 and later. Writers sleep at 12 or 8, readers at 8 (or at 0, where writers are preferred).
    """
    for start in (-12, -8, 0) if asked.value else ():  # all of them sleep while a bit of their word is set
        found = asked.here(start, "<IIIIIIiB")
        if found is None:
            continue
        readers, writers, phase, futex, _, _, owner, shared = found
        if writers > _MANY or readers >> 3 > _MANY or phase > 3 or futex > 3 or shared > 1:
            continue
        if owner and (not readers & 2 or not 0 < owner < _HIGHEST_TID):
            continue
        if not (owner or readers >> 3) or bool(shared) == bool(asked.operation & _PRIVATE):
            continue
        if asked.value != (readers if start == 0 else phase if start == -8 else futex):
            continue
        is_write = bool(owner) and readers & 1 == 1
        if is_write and owner not in asked.tids and not shared:
            continue
        return _lock(
            asked,
            start,
            "rwlock",
            owner=owner if is_write else 0,
            count=None if is_write else readers >> 3,
            mode="write" if is_write else "read",
        )
    return None


def _condition(asked: Asked) -> NativeLock | None:
    """Struct __pthread_cond_s {wseq 0, g1_start 8, …, wrefs, g_signals[2]}: 40 and 44; in 2.41 32, 36."""
    for start, form in ((-40, "<QQ16xII"), (-44, "<QQ16xII"), (-32, "<QQ8xII"), (-36, "<QQ8xII")):
        found = asked.here(start, form)
        if found is None:
            continue
        sequence, first, size, references = found
        waiters = references >> 3
        if not 0 < waiters <= _MANY or size > _MANY or first >> 1 > sequence >> 1:
            continue
        if sequence >> 1 < waiters or sequence >> 62 or (sequence >> 1) - (first >> 1) > _MANY:
            continue
        return _lock(asked, start, "condition", waiters=waiters)
    return None


def _semaphore(asked: Asked) -> NativeLock | None:
    """Struct new_sem {value low half, waiters high half 0, int private 8}: private is 0 or 128."""
    found = asked.here(0, "<IIi")
    if found is None or asked.value != 0:
        return None
    value, waiting, private = found
    is_private = bool(asked.operation & _PRIVATE)
    if not 0 < waiting <= _MANY or value > _MANY or private != (0 if is_private else 128):
        return None
    return _lock(asked, 0, "semaphore", count=value, waiters=waiting)


def _musl_mutex(asked: Asked) -> NativeLock | None:
    """Musl's pthread_mutex_t {type 0, lock 4, waiters 8}: all types but the normal know the owner."""
    found = asked.here(-4, "<iIi")
    if found is None:
        return None
    kind, word, waiting = found
    if kind & ~0x8F or not 0 <= waiting <= _MANY or not asked.value & _WAITERS:
        return None
    owner = word & _TID
    if kind & 0xF == 0:  # neither a type, nor robust (4), nor priority inheritance (8)
        return _lock(asked, -4, "mutex", variant="normal") if owner == 16 and waiting else None  # EBUSY
    if owner not in asked.tids:
        return None
    return _lock(asked, -4, "mutex", owner=owner, variant=_VARIANTS[kind & 3])


def _stdio(asked: Asked) -> NativeLock | None:
    """Struct _IO_lock_t {lock 0, count 4, owner 8} of a FILE: its owner is a pthread_self."""
    found = asked.here(0, "<IIQ")
    if found is None or asked.value != 2:
        return None
    word, count, owner = found
    if word not in (1, 2) or not 0 < count <= _MANY or owner % 16 or not 1 << 20 < owner < 1 << 56:
        return None
    return replace(_lock(asked, 0, "stdio", count=count), owner_ident=owner)


def _low_level(asked: Asked) -> NativeLock | None:
    """lll_lock: an int that is 2 while it is contended (malloc's arenas, the dynamic loader's lists)."""
    (word,) = asked.here(0, "<I") or (0,)
    return _lock(asked, 0, "low-level") if asked.value == 2 and word in (0, 1, 2) else None


_SHAPES: tuple[Callable[[Asked], NativeLock | None], ...] = (
    _join,
    _mutex,
    _stdio,
    _rwlock,
    _condition,
    _semaphore,
    _musl_mutex,
    _low_level,
)
