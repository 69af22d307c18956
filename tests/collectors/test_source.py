"""The source of a frame's file: read as the process sees it, as data, whatever it turns out to be."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from diag.collectors.process import collect as collect_process
from diag.collectors.source import LIMIT, collect, to_utf8
from diag.host.live import LiveHost
from diag.model.facts import Gap, Process
from diag.model.source import Source
from tests.support.processes import wait_until
from tests.support.require import need_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = LiveHost()


def me() -> Process:
    process = collect_process(HOST, os.getpid(), HOST.clock())
    assert process
    return process


def text_of(found: Source | Gap) -> bytes:
    assert isinstance(found, Source), found
    return found.text


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "app.py"
    file.write_bytes(b"print 'a'\n")
    os.utime(file, (1, 1))
    found = collect(HOST, me(), str(file))
    assert isinstance(found, Source)
    assert (found.file, found.text, found.changed) == (str(file), b"print 'a'\n", False)


def test_a_file_that_changed_after_the_start_says_so(tmp_path: Path) -> None:
    file = tmp_path / "app.py"
    file.write_bytes(b"x\n")
    process = replace(me(), since=file.stat().st_mtime - 60)
    found = collect(HOST, process, str(file))
    assert isinstance(found, Source)
    assert found.changed


def unreadable(path: Path) -> dict[str, str]:
    (path / "large.py").write_bytes(b"#" * (LIMIT + 1))
    (path / "lib.zip").write_bytes(b"PK")
    os.mkfifo(path / "fifo.py")
    (path / "loop.py").symlink_to("loop.py")
    return {
        "nothing there": f"{path}/none.py",
        "a directory": str(path),
        "a FIFO": f"{path}/fifo.py",
        "a device": "/dev/zero",
        "too large": f"{path}/large.py",
        "inside a zip file": f"{path}/lib.zip/mod.py",
        "a loop of links": f"{path}/loop.py",
        "a string": "<string>",
        "frozen": "<frozen importlib._bootstrap>",
        "nothing": "",
        "a zero byte": "/a\0b.py",
        "too long": "/" + "a" * 5000,
    }


def test_what_is_no_source_is_a_gap(tmp_path: Path) -> None:
    for what, file in unreadable(tmp_path).items():
        found = collect(HOST, me(), file)
        assert isinstance(found, Gap), what
        assert found.reason, what
        assert found.hint, what
        assert found.blinds, what


def test_the_program_of_an_option_is_its_own_source() -> None:
    program = "import time\ntime.sleep(1)\n"
    for line in ("python|-c|PROGRAM", "python2|-u|-Ic|PROGRAM|x"):
        found = collect(HOST, started_as(line, program), "<string>")
        assert found == Source(file="<string>", text=program.encode())
    for line in ("python|app.py|-c|PROGRAM", "python|-c|exec(input())PROGRAM"):
        assert isinstance(collect(HOST, started_as(line, program), "<string>"), Gap)


def started_as(line: str, program: str) -> Process:
    return replace(me(), argv=tuple(word.replace("PROGRAM", program) for word in line.split("|")))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Process]:
    """A process with another root and working directory than ours."""
    need_root()
    root = tmp_path / "root"
    (root / "srv").mkdir(parents=True)
    program = f"import os, time; os.chroot({str(root)!r}); os.chdir('/'); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", program])
    try:
        wait_until(lambda: os.readlink(f"/proc/{child.pid}/cwd") == str(root), "chroot to have happened")
        process = collect_process(HOST, child.pid, HOST.clock())
        assert process
        yield process
    finally:
        child.kill()
        child.wait()


@pytest.mark.live
def test_another_root_is_looked_into(elsewhere: Process, tmp_path: Path) -> None:
    (tmp_path / "root/srv/app.py").write_bytes(b"theirs\n")
    (tmp_path / "root/link").symlink_to("/srv")
    (tmp_path / "root/srv/up.py").symlink_to("../../../srv/app.py")
    for file in ("/srv/app.py", "/link/app.py", "/srv/up.py", "/srv/../link/./up.py", "srv/app.py"):
        assert text_of(collect(HOST, elsewhere, file)) == b"theirs\n", file
    assert isinstance(collect(HOST, elsewhere, sys.executable), Gap)


@pytest.mark.live
def test_a_relative_name_is_taken_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_bytes(b"here\n")
    child = subprocess.Popen(["sleep", "600"], cwd=tmp_path)
    try:
        process = collect_process(HOST, child.pid, HOST.clock())
        assert process
        assert text_of(collect(HOST, process, "app.py")) == b"here\n"
    finally:
        child.kill()
        child.wait()


E_ACUTE = "\N{LATIN SMALL LETTER E WITH ACUTE}"
GBK = "#!/usr/bin/python\n# vim: set fileencoding=gbk :\n# "
ENCODED = {
    "utf-8": ("# \N{SNOWMAN}\n".encode(), "# \N{SNOWMAN}\n"),
    "byte order mark": (b"\xef\xbb\xbfx\n", "x\n"),
    "latin-1": (b"# -*- coding: latin-1 -*-\n# \xe9\n", f"# -*- coding: latin-1 -*-\n# {E_ACUTE}\n"),
    "second line": (GBK.encode() + b"\xc4\xe3\n", GBK + "\u4f60\n"),
    "not a text codec": (b"# coding: rot13\nk\n", "# coding: rot13\nk\n"),
    "a dangerous codec": (b"# coding: zlib_codec\nk\n", "# coding: zlib_codec\nk\n"),
    "an unknown codec": (b"# coding: windows-none\nk\n", "# coding: windows-none\nk\n"),
    "line ends": (b"a\r\nb\rc\n", "a\nb\nc\n"),
    "the third line": (b"\n\n# coding: latin-1\n\xc3\xa9\n", f"\n\n# coding: latin-1\n{E_ACUTE}\n"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "text"), ENCODED.values(), ids=ENCODED)
def test_the_declared_encoding_is_honoured(data: bytes, text: str) -> None:
    assert to_utf8(data).decode() == text


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"# coding: utf-7\n", b"# coding: cp037\n", b"# coding=big5\n"]),
)
def test_any_bytes_become_some_text(data: bytes, head: bytes) -> None:
    assert b"\r" not in to_utf8(head + data)
