"""What a library has to do with Python, by the names in its dynamic string table (elf(5), .dynstr)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diag.collectors.elf import Image
from diag.errors import MalformedError
from diag.model.damage import LibraryUse

if TYPE_CHECKING:
    from diag.host import Host

MOST_NAMES = 1 << 20
MOST_TEXT = 4 << 20
"""Bytes read of a table of names, and of a section of texts."""

_PYTHON = re.compile(rb"\0_?Py[A-Z]\w+\0")
_LETS_GO = ("PyEval_SaveThread", "PyEval_ReleaseThread", "PyEval_ReleaseLock", "PyGILState_Release")
_BORROWS = (
    "PyList_GetItem", "PyTuple_GetItem", "PyDict_GetItem", "PyDict_GetItemString", "PyDict_Next",
    "PyDict_GetItemWithError", "PySequence_Fast", "PyWeakref_GetObject", "PyModule_GetDict",
)  # fmt: skip
_UWSGI = b"*** Starting uWSGI %s ("
# Texts of other libraries' headers are there too, such as zlib's 1.2.13: uWSGI is at 2.0 since 2013.
_VERSION = re.compile(rb"(?<=\0)2\.0(?:\.\d+){0,2}(?:-?[a-z]\w{0,20})?(?=\0)")


def collect(host: Host, path: str) -> LibraryUse | None:
    """Read what one library uses; None when it cannot be read."""
    try:
        image = Image.open(host, path)
        names = _contents(image, ".dynstr", MOST_NAMES)
        version = _version(image, path)
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


def _version(image: Image, path: str) -> str:
    """The version of uWSGI, a text of its own among those of the program; "" where it cannot be told."""
    if "uwsgi" not in path.rpartition("/")[2].lower():
        return ""
    texts = _contents(image, ".rodata", MOST_TEXT)
    found = set(_VERSION.findall(texts)) if _UWSGI in texts else set()
    return found.pop().decode() if len(found) == 1 else ""
