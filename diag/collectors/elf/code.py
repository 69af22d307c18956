"""From an address of an ELF file to function and line, out of whatever tables there are."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from diag.collectors.elf import debug_files, symbols
from diag.collectors.elf.dwarf import Dwarf
from diag.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.collectors.elf.image import Image
    from diag.host import Host
    from diag.model.code import SourceLine, Symbol


class Found(NamedTuple):
    """What is known of one address; None where no table tells."""

    symbol: Symbol | None
    line: SourceLine | None


class Code:
    """The code of one file, with its separate debug file, where there is one. Never raises."""

    def __init__(
        self,
        host: Host,
        image: Image,
        debug_directories: tuple[str, ...] = (debug_files.SYSTEM,),
        root: str = "",
        server: debug_files.Server | None = None,
    ) -> None:
        """``debug_directories``, ``root`` and ``server`` are those of ``debug_files.find``."""
        self._host = host
        self._image = image
        self._directories = debug_directories
        self._root = root
        self._server = server
        self._answers: dict[int, Found] = {}

    def at(self, address: int) -> Found:
        """Name function and line of an address of the file (not of a process, not an offset in the file)."""
        if address not in self._answers:
            self._answers[address] = self._look_up(address)
        return self._answers[address]

    def names(self, addresses: Sequence[int]) -> dict[int, str]:
        """Name the functions of some addresses: quicker than ``at`` where there are few, and only once."""
        found: dict[int, str] = {}
        for image in self._images:
            with suppress(MalformedError, OSError):
                found = {**symbols.names(image, addresses), **found}
        return found

    def symbol(self, address: int) -> Symbol | None:
        """Name the function of an address: much quicker than ``at``, which looks for the line too."""
        with suppress(MalformedError, OSError):
            return next((found for one in self._tables if (found := one.find(address))), None)
        return None

    def _look_up(self, address: int) -> Found:
        symbol, line = self.symbol(address), None
        with suppress(MalformedError, OSError):
            line = self._dwarf.find(address) if self._dwarf else None
        return Found(symbol, line)

    @cached_property
    def debug_file(self) -> Image | None:
        """The separate debug file, where the file itself has no debugging information."""
        if self._image.section(".debug_info"):
            return None
        return debug_files.find(self._host, self._image, self._directories, self._root, self._server)

    @cached_property
    def _images(self) -> tuple[Image, ...]:
        return (self.debug_file, self._image) if self.debug_file else (self._image,)

    @cached_property
    def _tables(self) -> tuple[symbols.Table, ...]:
        found: list[symbols.Table] = []
        for image in self._images:
            with suppress(MalformedError, OSError):
                found += symbols.tables(image)
        return tuple(found)

    @cached_property
    def _dwarf(self) -> Dwarf | None:
        return next((dwarf for image in self._images if (dwarf := Dwarf.of(image))), None)
