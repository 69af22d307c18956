"""What a program calls of the libraries it is linked to: its undefined dynamic symbols (elf(5))."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from diag.collectors.elf.headers import text_at
from diag.collectors.elf.image import Image
from diag.collectors.elf.stream import guarded
from diag.errors import MalformedError

if TYPE_CHECKING:
    from diag.host import Host
    from diag.model.code import Section

_MOST = 8 << 20
_NEEDED = 1  # DT_NEEDED


class Imports(NamedTuple):
    """The functions and libraries that an ELF file asks its loader for."""

    names: frozenset[str]
    libraries: tuple[str, ...]


def read(host: Host, path: str) -> Imports | None:
    """Read them; None where a file tells nothing: no ELF file, linked statically, damaged or unreadable."""
    try:
        with guarded(path):
            image = Image.open(host, path)
            symbols, dynamic = image.section(".dynsym"), image.section(".dynamic")
            if symbols is None or dynamic is None:
                return None
            return Imports(frozenset(_undefined(image, symbols)), tuple(_needed(image, dynamic)))
    except (OSError, MalformedError):
        return None


def _undefined(image: Image, section: Section) -> list[str]:
    form = struct.Struct(f"{image.order}IBBHQQ" if image.bits == 64 else f"{image.order}IIIBBH")
    strings = _strings(image, section)
    number = 3 if image.bits == 64 else 5
    return [
        text_at(strings, fields[0])
        for fields in form.iter_unpack(_whole(image, section, form.size))
        if not fields[number]
    ]


def _needed(image: Image, section: Section) -> list[str]:
    form = struct.Struct(f"{image.order}{'qQ' if image.bits == 64 else 'iI'}")
    strings = _strings(image, section)
    rows = form.iter_unpack(_whole(image, section, form.size))
    return [text_at(strings, value) for tag, value in rows if tag == _NEEDED]


def _strings(image: Image, section: Section) -> bytes:
    link = image.sections[section.link]
    return image.source.at(link.offset, min(link.size, _MOST))


def _whole(image: Image, section: Section, width: int) -> bytes:
    data = image.source.at(section.offset, min(section.size, _MOST))
    return data[: len(data) // width * width]
