"""Python file objects, and the plain attributes of an instance: what a lock object says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diag.host import redact
from diag.model.pyobjects import FileObject, Object

if TYPE_CHECKING:
    from diag.collectors.pyobjects.reader import Reader

RAW = ("_io.FileIO",)
_WRAPPERS = ("_io.TextIOWrapper", "_io.BufferedWriter", "_io.BufferedReader", "_io.BufferedRandom")
OLD = "file"
_MOST_WORDS = 32


def describe(objects: Reader, address: int) -> FileObject | None:
    """Read an open file of ``open()``, wrapped or raw; None when it is none."""
    raw = _raw(objects, address)
    if raw is None:
        return None
    if objects.is_a(raw, OLD):
        return _old(objects, address)
    fd = objects.memory.int32(raw + 16)  # fileio {fd 16, flags}, Modules/_io/fileio.c
    name = objects.attribute(raw, "name")
    path = objects.value(name) if name else None
    return FileObject(
        address=address,
        type=objects.type_name(address),
        fd=fd if fd is not None and fd >= 0 else None,
        path=path if isinstance(path, str) else None,
        closed=None if fd is None else fd < 0,
    )


def _raw(objects: Reader, address: int) -> int | None:
    """Follow text and buffer layers to what has the descriptor.

    Their C structs begin with the object they wrap: TextIOWrapper keeps two flags and a size before
    it, so the first word that is itself a file is taken.
    """
    for _ in range(4):
        if objects.is_a(address, *RAW, OLD):
            return address
        if not objects.is_a(address, *_WRAPPERS):
            return None
        words = objects.memory.words(address + 16, _MOST_WORDS // 4)
        inner = (word for word in words if word % 8 == 0 and objects.is_a(word, *RAW, *_WRAPPERS))
        address = next(inner, 0)
    return None


def _old(objects: Reader, address: int) -> FileObject:
    """Read 2.7's file {FILE *fp 16, name 24, mode 32}; glibc's FILE has its descriptor at 112."""
    stream = objects.memory.word(address + 16)
    fd = objects.memory.int32(stream + 112) if stream else None
    name = objects.memory.word(address + 24)
    return FileObject(
        address=address,
        type="file",
        fd=fd if fd is not None and 0 <= fd < 1 << 24 else None,
        path=objects.text(name) if name else None,
        closed=not stream,
    )


def facts_of(objects: Reader, address: int, depth: int = 2) -> dict[str, Any]:
    """Read what an instance says of itself: its attributes that are plain values or open files.

    A lock object's path and descriptor are found this way, whatever its class calls them; an inner
    object with attributes (filelock's ``_context``) is looked into, ``depth`` levels deep, under "a.b".
    """
    found: dict[str, Any] = {}
    for name, value in objects.attributes(address).items():
        if redact.is_secret_name(name):
            found[name] = redact.MASK  # not even read: a recording must not hold it
            continue
        if file := describe(objects, value):
            found[name] = file
            continue
        plain = objects.value(value, depth=1)
        if not isinstance(plain, Object):
            found[name] = plain
        elif depth > 1:
            inner = facts_of(objects, value, depth - 1)
            found.update({f"{name}.{key}": one for key, one in inner.items()})
        if len(found) > 10 * _MOST_WORDS:
            break
    return found
