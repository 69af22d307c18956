"""What a library has to do with Python, by the names in its dynamic string table (elf(5), .dynstr)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diag.collectors.elf import Image
from diag.errors import MalformedError
from diag.model.damage import LibraryUse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.host import Host
    from diag.model.damage import VersionText

MOST_NAMES = 1 << 20
MOST_TEXT = 4 << 20
"""Bytes read of a table of names, and of a section of texts."""

_PYTHON = re.compile(rb"\0_?Py[A-Z]\w+\0")
_LETS_GO = ("PyEval_SaveThread", "PyEval_ReleaseThread", "PyEval_ReleaseLock", "PyGILState_Release")
_BORROWS = (
    "PyList_GetItem", "PyTuple_GetItem", "PyDict_GetItem", "PyDict_GetItemString", "PyDict_Next",
    "PyDict_GetItemWithError", "PySequence_Fast", "PyWeakref_GetObject", "PyModule_GetDict",
)  # fmt: skip


def collect(host: Host, path: str, versions: Iterable[VersionText] = ()) -> LibraryUse | None:
    """Read what one library uses; None when it cannot be read.

    ``versions``: how the versions stand in the files of which one is wanted.
    """
    try:
        image = Image.open(host, path)
        names = _contents(image, ".dynstr", MOST_NAMES)
        version = _version(image, path, versions)
    except (MalformedError, OSError):
        return None
    return LibraryUse(
        library=path,
        python=bool(_PYTHON.search(names)),
        lets_go=tuple(one for one in _LETS_GO if f"\0{one}\0".encode() in names),
        borrows=tuple(one for one in _BORROWS if f"\0{one}\0".encode() in names),
        version=version,
    )


def _contents(image: Image, name: str, limit: int) -> bytes:
    section = image.section(name)
    if section is None:
        return b""
    return image.contents(section).at(0, min(section.size, limit))


def _version(image: Image, path: str, versions: Iterable[VersionText]) -> str:
    """The version of one of those programs, a text of its own; "" where it cannot be told."""
    name = path.rpartition("/")[2]
    found: set[bytes] = set()
    for one in versions:
        if re.fullmatch(one.library, name):
            texts = _contents(image, ".rodata", MOST_TEXT)
            wanted = rb"(?<=\0)(?:%b)(?=\0)" % one.version
            found.update(re.findall(wanted, texts) if one.beside in texts else ())
    return found.pop().decode("ascii", "replace") if len(found) == 1 else ""
