"""How programmers name locks and what is done to them: tests on identifiers and calls."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from diag.waits.lock_sites.syntax import inside, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree_sitter import Node

_NOUNS = frozenset({"lock", "locks", "mutex", "semaphore", "flock", "lockf", "lockfile", "latch"})
_NOT_LOCKS = ("block", "clock", "unlock", "deadlock")
_FREES = frozenset({"release", "unlock", "unacquire", "free", "unflock", "releases", "unlocks"})
_ASIDE = frozenset(
    """
    assert break check clean cleanup count create delete extend force has info init is
    list log make name new owner path print refresh remove renew reset show status steal
    test was
    """.split()  # noqa: SIM905 - easier to read and to add to
)
"""Words that make a name with "lock" in it say something else than taking the lock."""
_TAKES = frozenset(
    """
    acquired aenter again blocking do ensure enter ex exclusive fcntl fd file for get global grab handle
    inter internal my nb non nonblocking once poll posix process raw read safe set sh shared
    simple soft stream take the try unix until wait with write
    """.split()  # noqa: SIM905 - easier to read and to add to
)
"""Words that go with "lock" when a name says that it takes the lock."""
_SLEEPS = frozenset(
    {"sleep", "wait", "select", "poll", "pause", "nap", "delay", "nanosleep", "usleep", "backoff"}
)
_LOCKING = frozenset({"flock", "lockf", "locking", "lockfileex"})
_MAKING = frozenset({"link", "symlink", "mkdir"})


class Call(NamedTuple):
    """A call in the source."""

    node: Node
    name: str  # the last part: "acquire"
    target: str  # what comes before it ("self.lock"), or the first argument of a plain function
    arguments: str  # their text


@lru_cache(maxsize=4096)
def split(name: str) -> tuple[str, ...]:
    """Split an identifier into lower-case words: ``_FileLock_nb`` -> file, lock, nb."""
    return tuple(word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name[:200]))


def is_lock_word(word: str) -> bool:
    """Whether one word means a lock: lock, mutex, filelock, trylock; not block, clock, unlock."""
    return word in _NOUNS or (word.endswith("lock") and not word.endswith(_NOT_LOCKS))


def names_lock(text: str) -> bool:
    """Whether an identifier or type name says that this is a lock."""
    words = split(text)
    return any(map(is_lock_word, words)) and not _FREES.intersection(words)


def says_take(name: str) -> bool:
    """Whether a function's name says that it takes a lock."""
    words = split(name)
    if _FREES.intersection(words) or _ASIDE.intersection(words):
        return False
    if {"acquire", "acquires", "acquired"}.intersection(words):
        return True
    if name[:1].isupper():  # a class: made, not taken
        return False
    return any(map(is_lock_word, words)) and all(is_lock_word(w) or w in _TAKES for w in words)


def is_lock_method(name: str) -> bool:
    """Whether every word of a function's name is about taking a lock: ``_poll_until_acquired``."""
    words = split(name)
    about = _TAKES.union(("acquire", "acquires"))
    return says_take(name) and all(is_lock_word(word) or word in about for word in words)


def says_pause(name: str) -> bool:
    """Whether a function's name says that it lets time pass."""
    return bool(_SLEEPS.intersection(split(name)))


def says_free(name: str) -> bool:
    """Whether a function's name says that it releases a lock."""
    return bool(_FREES.intersection(split(name)))


def calls(node: Node) -> Iterator[Call]:
    """Yield the calls in a statement or block, nested functions left out."""
    return iter(_calls(node))


@lru_cache(maxsize=1024)  # frames of a recursion, and of many threads, stand at the same statements
def _calls(node: Node) -> tuple[Call, ...]:
    return tuple(_found(node))


def _found(node: Node) -> Iterator[Call]:
    for found in inside(node):
        if found.type != "call":
            continue
        function = found.child_by_field_name("function")
        arguments = found.child_by_field_name("arguments")
        if function is None:
            continue
        target = function.child_by_field_name("object") if function.type == "attribute" else None
        name = function.child_by_field_name("attribute") if function.type == "attribute" else function
        yield Call(found, text_of(name), text_of(target), text_of(arguments, 2000)[1:-1])


def first_argument(call: Call) -> str:
    """The text of a call's first argument, without a ``.fileno()`` behind it."""
    arguments = call.node.child_by_field_name("arguments")
    if arguments is None or not arguments.named_children:
        return ""
    return text_of(arguments.named_children[0]).removesuffix(".fileno()")


def locks_file(call: Call) -> bool:
    """Whether a call locks a file: flock(2), lockf(3), fcntl(2) with F_SETLK."""
    if "LOCK_UN" in call.arguments or "F_UNLCK" in call.arguments:
        return False
    if call.name == "fcntl":
        return "SETLK" in call.arguments
    return call.name.lower() in _LOCKING


def makes_file(call: Call) -> bool:
    """Whether a call makes a file only if there is none: a lock by existence."""
    if call.name in _MAKING:
        return call.target in ("os", "posix", "")
    return "O_EXCL" in call.arguments or (
        call.name == "open" and bool(re.search(r"['\"]x[b+]*['\"]", call.arguments))
    )


def takes(call: Call) -> bool:
    """Whether a call takes a lock, by what it is or by what it is named."""
    return locks_file(call) or (says_take(call.name) and not frees(call))


def frees(call: Call) -> bool:
    """Whether a call releases a lock."""
    return says_free(call.name) or "LOCK_UN" in call.arguments or "F_UNLCK" in call.arguments


def lock_of(call: Call) -> str:
    """The lock that a call takes or frees: ``self.lock`` of self.lock.acquire(), ``f`` of flock(f)."""
    if call.name.lower() in _LOCKING or call.target in ("fcntl", "portalocker", "os", ""):
        return first_argument(call)
    argument = first_argument(call)
    is_option = not argument or "=" in argument or argument in ("True", "False") or argument[0].isdigit()
    return call.target if is_option or {"acquire", "release"}.intersection(split(call.name)) else argument


def identifiers(text: str) -> frozenset[str]:
    """The plain names in an expression."""
    return frozenset(re.findall(r"(?<![\w.])[A-Za-z_]\w*", text))
