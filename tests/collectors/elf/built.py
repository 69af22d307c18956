"""ELF files made here, of ``crash.c``: with and without debugging information, whole and stripped."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.support.processes import PROGRAMS
from tests.support.require import need_tool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def compiled(to: Path, *options: str) -> Path:
    """Compile the library of ``crash.c`` to ``to``."""
    compiler = need_tool("gcc")
    source = str(PROGRAMS / "crash.c")
    command = [
        compiler,
        "-DLIBRARY",
        "-shared",
        "-fPIC",
        "-fno-stack-protector",
        *options,
        source,
        "-o",
        str(to),
    ]
    subprocess.run(command, check=True)
    return to


def tool(name: str, *arguments: object) -> str:
    """Run a program of binutils and return what it says."""
    command = [need_tool(name, "binutils"), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def functions(path: Path, *options: str) -> dict[str, tuple[int, int]]:
    """Address and size of each function, as nm tells them."""
    found = {}
    for line in tool("nm", "-S", *options, path).splitlines():
        words = line.split()
        if len(words) == 4 and words[2] in "tTwW":
            found[words[3]] = (int(words[0], 16), int(words[1], 16))
    return found


def addr2line(path: Path, addresses: Sequence[int]) -> list[tuple[str, str, int]]:
    """Function, file and line of each address, as binutils tells them."""
    said = tool("addr2line", "-f", "-e", path, *map(hex, addresses)).splitlines()
    found = []
    for function, place in zip(said[::2], said[1::2], strict=True):
        file, _, line = place.partition(" ")[0].rpartition(":")
        found.append((function, file, int(line) if line.isdigit() else 0))
    return found
