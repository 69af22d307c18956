"""Reads compressed logs as a stream, whatever their names say."""

from __future__ import annotations

import bz2
import errno
import lzma
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[memoryview], int]

LIMIT = 64 << 30
"""Bytes one archive may unpack to: a bomb costs time, then ends."""

STEP = 128 << 10
"""Bytes asked of a library at a time: where an archive is cut short it loses what it had of them."""

PACKED = 256 << 10
"""Packed bytes read at a time."""

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}


def compression(handle: int) -> str | None:
    """Tell how a file is compressed, by its first bytes; None: it is not."""
    return kind_of(os.pread(handle, 6, 0))


def kind_of(head: bytes) -> str | None:
    """Tell how a file that begins so is compressed; None: it is not."""
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def reader(handle: int, kind: str) -> Read:
    """Return a function that unpacks into a buffer and tells how many bytes it gave: 0 at the end.

    It raises ``OSError`` for an archive that is damaged, cut short, too large, or of a kind this
    Python cannot unpack.
    """
    if kind == "gzip":
        unpack = _gzip(handle)
    else:
        unpack = _copying(_open(kind, os.fdopen(handle, "rb", closefd=False)).read1)
    given = 0
    broken: OSError | None = None

    def read(buffer: memoryview) -> int:
        nonlocal given, broken
        if broken:
            raise broken
        try:
            got = unpack(buffer)
        except Exception as error:
            broken = OSError(errno.EBADMSG, f"the {kind} data is damaged or cut short ({error})")
            raise broken from error
        given += got
        if given > LIMIT:
            broken = OSError(errno.EFBIG, f"unpacks to more than {LIMIT >> 30} GiB")
        return got

    return read


def _copying(next_piece: Callable[[int], bytes]) -> Read:
    def read(buffer: memoryview) -> int:
        piece = next_piece(min(len(buffer), STEP))
        buffer[: len(piece)] = piece
        return len(piece)

    return read


def _gzip(handle: int) -> Read:
    """Unpack gzip right into the buffer, and let go of the interpreter for as long as that takes.

    Where that fails, what was unpacked of the last buffer is not told: it is unpacked again, more slowly.
    """
    try:
        # What isal's own igzip is made of; there is no public name for it.
        from isal.isal_zlib import _GzipReader  # noqa: PLC0415 - loads only when used
    except ImportError:
        return _copying(_members(handle))
    quick: Any = _GzipReader(os.fdopen(handle, "rb", buffering=0, closefd=False), PACKED)
    given = 0
    slow: Read | None = None

    def read(buffer: memoryview) -> int:
        nonlocal given, slow
        if slow is None:
            try:
                got: int = quick.readinto(buffer)
            except Exception:  # noqa: BLE001 - the other one will say what is wrong
                os.lseek(handle, 0, os.SEEK_SET)
                slow = _copying(_members(handle))
                while given:
                    given -= slow(buffer[: min(len(buffer), given)])
            else:
                given += got
                return got
        return slow(buffer)

    return read


def _members(handle: int) -> Callable[[int], bytes]:
    """Unpack the members of a gzip file one after the other."""
    try:
        from isal import isal_zlib as zlib  # noqa: PLC0415 - three times as fast as zlib, where it exists
    except ImportError:
        import zlib  # type: ignore[no-redef] # noqa: PLC0415
    member: Any = zlib.decompressobj(wbits=31)
    packed, begun = b"", False

    def read(size: int) -> bytes:
        nonlocal member, packed, begun
        while True:
            if not packed and not (packed := os.read(handle, STEP)):
                if begun:
                    raise EOFError("it ends in the middle")
                return b""
            if not begun and not (packed := packed.lstrip(b"\0")):  # padding between members
                continue
            begun = True
            piece: bytes = member.decompress(packed, size)
            packed = member.unconsumed_tail
            if member.eof:
                packed, begun = member.unused_data, False
                member = zlib.decompressobj(wbits=31)
            if piece:
                return piece

    return read


def _open(kind: str, file: Any) -> Any:
    if kind == "bzip2":
        return bz2.BZ2File(file)
    if kind == "xz":
        return lzma.LZMAFile(file)
    if kind == "lz4":
        import lz4.frame  # type: ignore[import-untyped] # noqa: PLC0415 - loads only when used

        return lz4.frame.LZ4FrameFile(file)
    try:
        from compression import zstd  # type: ignore[import-not-found] # noqa: PLC0415 - Python 3.14
    except ImportError:
        try:
            from backports import zstd  # noqa: PLC0415
        except ImportError as error:
            raise OSError(errno.ENOTSUP, "zstd needs the Python package backports.zstd") from error
    return zstd.ZstdFile(file)
