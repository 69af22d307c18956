"""Where the debugging information of a stripped file lies: gdb's manual, "Separate Debug Files"."""

from __future__ import annotations

import os.path
import zlib
from typing import TYPE_CHECKING

from diag.collectors.elf.image import Image
from diag.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.host import Host

SYSTEM = "/usr/lib/debug"
_CHECKED = 256 << 20  # bytes of a debug file whose checksum is computed
_STEP = 1 << 20
_PATIENCE = 20.0  # seconds debuginfod-find may take


class Server:
    """The servers that DEBUGINFOD_URLS names, asked by elfutils' client; nobody where it names none."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._answers = host.info.debug_server

    def fetch(self, build_id: str) -> Image | None:
        """Open the debug file of a build; after one question without an answer no more are asked."""
        if not self._answers:
            return None
        try:
            outcome = self._host.run(("debuginfod-find", "debuginfo", build_id), timeout=_PATIENCE)
            self._answers = not outcome.timed_out
            path = outcome.stdout.decode("utf-8", "replace").strip()
            if outcome.code or not path.startswith("/"):
                return None
            found = Image.open(self._host, path)
        except (OSError, MalformedError):
            return None
        return found if found.build_id == build_id else None


def find(
    host: Host,
    image: Image,
    directories: tuple[str, ...] = (SYSTEM,),
    root: str = "",
    server: Server | None = None,
) -> Image | None:
    """Open the separate debug file of ``image``; None where there is none that belongs to it.

    ``directories`` are laid out as /usr/lib/debug is; ``root`` is where the file's own system begins.
    A server is asked last.
    """
    build_id, link = image.build_id, image.debug_link
    for path in _candidates(image, directories, root):
        try:
            found = Image.open(host, path)
            if _belongs(found, build_id, link.crc if link else None):
                return found
        except (OSError, MalformedError):
            continue
    return server.fetch(build_id) if server and build_id else None


def _candidates(image: Image, directories: tuple[str, ...], root: str) -> Iterator[str]:
    build_id, link = image.build_id, image.debug_link
    if build_id and len(build_id) > 2:
        for directory in directories:
            yield f"{directory}/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
    if link:
        beside = os.path.dirname(image.path)
        yield f"{beside}/{link.name}"
        yield f"{beside}/.debug/{link.name}"
        for directory in directories:
            yield f"{directory}{beside.removeprefix(root)}/{link.name}"


def _belongs(found: Image, build_id: str | None, crc: int | None) -> bool:
    """Whether it was made of the same link: by build id, or by checksum where there is none."""
    if not found.section(".debug_info") and not found.section(".symtab"):
        return False
    if build_id:
        return found.build_id == build_id
    return crc is not None and found.source.size <= _CHECKED and _crc(found) == crc


def _crc(found: Image) -> int:
    value = 0
    for place in range(0, found.source.size, _STEP):
        value = zlib.crc32(found.source.at(place, _STEP), value)
    return value
