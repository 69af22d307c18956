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

MOST_BESIDE = 5000
_LEVELS = 3  # of directories: a package's own, those around it
_PYTHON = re.compile(rb"\0_?Py[A-Z]\w+\0")
_GENERATORS = ((b"cython_runtime", "Cython"), (b"pybind11_", "pybind11"), (b"pyo3_runtime", "PyO3"),
               (b"swig_runtime_data", "SWIG"), (b"nanobind", "nanobind"))  # fmt: skip
"""Texts that each C or C++ file made by a generator has, by the name of that."""
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
        python = bool(_PYTHON.search(names))
        texts = names + _contents(image, ".rodata", MOST_NAMES) if python else b""
    except (MalformedError, OSError):
        return None
    return LibraryUse(
        library=path,
        python=python,
        lets_go=tuple(one for one in _LETS_GO if f"\0{one}\0".encode() in names),
        borrows=tuple(one for one in _BORROWS if f"\0{one}\0".encode() in names),
        version=version,
        packaged=not python or _is_packaged(host, path),
        made_by=next((name for text, name in _GENERATORS if text in texts), ""),
    )


def _is_packaged(host: Host, path: str) -> bool:
    """Whether a file lies in a directory of installed packages: there, next to each, is what tells of it."""
    place = path.rpartition("/")[0]
    if re.match(r"/(?:usr|opt|snap)/(?!local/)|/lib", path) or "-packages/" in path:
        return True
    for _ in range(_LEVELS):
        try:
            if any(name.endswith((".dist-info", ".egg-info")) for name in host.names(place)[:MOST_BESIDE]):
                return True
        except OSError:
            return True  # it cannot be told
        place = place.rpartition("/")[0]
        if not place:
            break
    return False


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
