"""Functions and lines of real files, compared with what binutils says of the same addresses."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from diag.collectors.elf import Code, Image
from diag.collectors.elf import debug_files as separate
from diag.errors import MalformedError
from diag.host import LiveHost
from tests.collectors.elf.built import addr2line, compiled, functions, tool

HOST = LiveHost()


def image(path: Path) -> Image:
    return Image.open(HOST, str(path))


def code(path: Path, *directories: Path) -> Code:
    return Code(HOST, image(path), tuple(map(str, directories)))


@pytest.mark.parametrize(
    "options",
    [
        ("-g", "-O0"),
        ("-g", "-O2"),
        ("-gdwarf-4", "-O1"),
        ("-gdwarf-2", "-O0", "-gstrict-dwarf"),
        ("-g", "-O2", "-gz=zlib"),
        ("-g", "-O2", "-fno-asynchronous-unwind-tables", "-ffunction-sections"),
    ],
    ids=" ".join,
)
def test_every_address_has_the_function_and_line_that_addr2line_says(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    library = compiled(tmp_path / "libx.so", *options)
    found = code(library)
    names = functions(library)
    addresses = [at for start, size in names.values() for at in range(start, start + size, 2)]
    lines = 0
    for address, (function, file, line) in zip(addresses, addr2line(library, addresses), strict=True):
        told = found.at(address)
        assert told.symbol
        start, size = names[told.symbol.name]
        assert start <= address < start + size
        if line:
            assert told.line is not None
            assert (Path(told.line.file), told.line.line) == (Path(file), line), hex(address)
            assert told.line.function == function
            lines += 1
    assert lines > 20


def test_lines_are_found_where_the_index_was_left_out(tmp_path: Path) -> None:
    library = compiled(tmp_path / "libx.so", "-g", "-O0")
    tool("objcopy", "--remove-section=.debug_aranges", library)
    start, _ = functions(library)["divide"]
    told = code(library).at(start + 4)
    assert told.line
    assert (told.line.function, Path(told.line.file).name) == ("divide", "crash.c")


def test_a_stripped_library_names_its_exports_and_nothing_beyond_them(tmp_path: Path) -> None:
    source = tmp_path / "two.c"
    source.write_text(
        "static int hidden(int x) { return x * 3; }\n"
        "int shown(int x) { return x + 1; }\n"
        "int (*keep(void))(int) { return hidden; }\n"
    )
    library = tmp_path / "two.so"
    tool("gcc", "-O0", "-shared", "-fPIC", source, "-o", library)
    hidden, shown = functions(library)["hidden"][0], functions(library)["shown"][0]
    tool("strip", library)
    found = code(library)
    told = found.at(shown + 1).symbol
    assert told is not None
    assert (told.name, told.table) == ("shown", ".dynsym")
    assert found.at(hidden + 1) == (None, None)


def test_a_separate_debug_file_is_found_by_build_id_and_by_link(tmp_path: Path) -> None:
    library = compiled(tmp_path / "libx.so", "-g", "-O1", "-Wl,--build-id")
    start, _ = functions(library)["illegal"]
    debug = tmp_path / "libx.so.debug"
    tool("objcopy", "--only-keep-debug", library, debug)
    tool("strip", library)
    assert code(library).at(start).line is None
    known = image(library).build_id
    assert known is not None
    assert known in tool("readelf", "-n", library)
    directory = tmp_path / "debug" / ".build-id" / known[:2]
    directory.mkdir(parents=True)
    shutil.copy(debug, directory / f"{known[2:]}.debug")
    told = code(library, tmp_path / "debug").at(start)
    assert told.line
    assert told.line.function == "illegal"
    tool("objcopy", f"--add-gnu-debuglink={debug}", library)
    assert code(library).at(start).line == told.line


def test_a_debug_file_of_another_build_is_refused(tmp_path: Path) -> None:
    library = compiled(tmp_path / "libx.so", "-g", "-O1", "-Wl,--build-id")
    debug = tmp_path / "libx.so.debug"
    other = compiled(tmp_path / "other.so", "-g", "-O0", "-Wl,--build-id")
    tool("objcopy", "--only-keep-debug", other, debug)
    tool("strip", library)
    tool("objcopy", f"--add-gnu-debuglink={debug}", library)
    assert separate.find(HOST, image(library)) is None


def test_without_build_id_the_checksum_decides(tmp_path: Path) -> None:
    library = compiled(tmp_path / "libx.so", "-g", "-O1", "-Wl,--build-id=none")
    debug = tmp_path / "libx.so.debug"
    tool("objcopy", "--only-keep-debug", library, debug)
    tool("strip", library)
    tool("objcopy", f"--add-gnu-debuglink={debug}", library)
    assert image(library).build_id is None
    assert separate.find(HOST, image(library))
    with debug.open("ab") as file:
        file.write(b"\0")
    assert separate.find(HOST, image(library)) is None


def test_the_packed_symbol_table_of_a_stripped_file_is_read(tmp_path: Path) -> None:
    library = compiled(tmp_path / "libx.so", "-O0")
    names = functions(library)
    packed = tmp_path / "symbols"
    tool("objcopy", "-S", "--remove-section=.comment", library, packed)
    tool("objcopy", "--only-keep-debug", library, packed)
    tool("xz", packed)
    tool("strip", library)
    tool("objcopy", f"--add-section=.gnu_debugdata={packed}.xz", library)
    told = code(library).at(names["recurse"][0]).symbol
    assert told
    assert told.name == "recurse"


@pytest.mark.parametrize("content", [b"", b"\x7fEL", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF" + b"\xff" * 60])
def test_what_is_no_elf_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(MalformedError):
        Image.open(HOST, str(path))


def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MalformedError):
        Image.open(HOST, str(tmp_path / "pipe"))
