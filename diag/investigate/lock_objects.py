"""Paths of locks that only an object in a process's memory names, and no local of a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import files
from diag.model.pyobjects import FileObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diag.investigate.inquiry import Inquiry

_NAMES = ("lock", "file", "path")
"""Parts of the names of attributes under which a path may be relative."""


def paths(inquiry: Inquiry, pid: int, addresses: Iterable[int]) -> Iterator[tuple[str, str]]:
    """Yield (path, attribute) of every attribute that is a path or an open file, object by object.

    Nothing where memory can not be read. A path is as its program wrote it: perhaps relative.
    """
    objects = inquiry.objects(pid)
    if objects is None:
        return
    for address in addresses:
        for name, value in files.facts_of(objects, address).items():
            path = value.path if isinstance(value, FileObject) else value
            if isinstance(path, str) and (path.startswith("/") or _speaks_of_file(name)):
                yield path, name


def _speaks_of_file(attribute: str) -> bool:
    return any(word in attribute.lower() for word in _NAMES)
