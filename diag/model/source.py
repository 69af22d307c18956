"""What the source text of a stack's frames tells: where locks are taken and asked for."""

from __future__ import annotations

from enum import Enum

from diag.model.facts import Fact, Where


class Source(Fact, frozen=True, kw_only=True):
    """The source text of one file, as the process sees that path."""

    file: str  # as the frames name it
    text: bytes  # UTF-8, whatever the file itself was written in
    changed: bool = False  # modified after the process started: the lines may not be those that run


class Sure(str, Enum):
    """What a statement about a lock rests on, best first."""

    MEMORY = "memory"  # values and addresses read from the process
    SOURCE = "source"  # the structure of the source at the lines the frames stand on
    PATTERN = "pattern"  # names, or a structure that healthy code has too


class Site(Fact, frozen=True, kw_only=True):
    """A statement that took a lock which is still held at the frame's current line."""

    where: Where
    expression: str  # "self.lock", "FileLock(self.lock_file_name)", "fcntl.flock(f, LOCK_EX)"
    how: str  # "with" | "call" | "each" of a collection
    sure: Sure
    target: str = ""  # the expression of the lock itself: "self.lock", "f" of flock(f, ...)
    made: str = ""  # how the same function made it: "open(path)" for f
    address: int | None = None  # of the lock object, where a plain local names it
    base: int | None = None  # of the object whose attribute it is: "self" of "self.lock"


class Ask(Fact, frozen=True, kw_only=True):
    """A thread is trying to get a lock at this moment."""

    inner: int  # index of the innermost Python frame
    asker: int  # index of the frame that asked: the caller of acquire() or __enter__()
    where: Where  # of the asker
    expression: str  # what stands there
    how: str  # "polling" | "blocked"
    lock: str  # "file" | "thread" | "unknown": what kind of lock, as far as stack and source tell
    sure: Sure
    why: str  # in words
    paths: tuple[str, ...] = ()  # that locals of these frames name, the likeliest first
    fds: tuple[int, ...] = ()  # that plain int locals of these frames name
    addresses: tuple[int, ...] = ()  # of the objects (self) whose methods are asking
    target: str = ""  # as in Site


class Handler(Fact, frozen=True, kw_only=True):
    """Code that runs in between, called by the interpreter and not by the frame below it."""

    frame: int  # its index
    kind: str  # "signal" | "finalizer" | "weakref" | "gc" | "trace"
    where: Where
    signal: int | None = None
    name: str = ""  # "SIGTERM"


class Retaken(Fact, frozen=True, kw_only=True):
    """One thread asks for a lock that one of its own outer frames holds."""

    site: Site
    ask: Ask
    outer: int  # index of the frame that holds it; equal to ask.asker when one frame does both
    sure: Sure
    why: str


class Doing(Fact, frozen=True, kw_only=True):
    """What a thread is doing, for a person."""

    where: Where  # the innermost frame of the user's own code
    words: str  # "sleeping in time.sleep, app.py:40 in main"
