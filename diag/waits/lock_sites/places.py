"""Whose code a file is: the standard library's, an installed package's, or the user's own."""

from __future__ import annotations

import re

from diag.waits.lock_sites.words import is_lock_word, split

_INSTALLED = re.compile(r"/(?:site|dist)-packages/(.+)")
_STDLIB = re.compile(r"/lib(?:64)?/(?:python|pypy)\d(?:\.\d+)?/(?!(?:site|dist)-packages/)")


def is_stdlib(file: str) -> bool:
    """Whether a file belongs to the standard library (or is frozen into the interpreter)."""
    return file.startswith("<frozen") or _STDLIB.search(file) is not None


def package(file: str) -> str | None:
    """The installed package (or module) that a file belongs to, up to and with its directory; else None."""
    found = _INSTALLED.search(file)
    if not found:
        return None
    return file[: found.start(1)] + found.group(1).partition("/")[0]


def lock_module(file: str) -> bool:
    """Whether the name of a file or of its directory says that it is about locks: ``filelock/_api.py``."""
    return any(is_lock_word(word) for part in file.rsplit("/", 2)[-2:] for word in split(part))


def is_own(file: str) -> bool:
    """Whether a file is the user's own: neither standard library nor installed, and Python at all."""
    return not is_stdlib(file) and package(file) is None and not file.startswith("<")
