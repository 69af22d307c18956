"""diag's own unwinder: the same frames as gdb's, who has the GIL, and tables that nobody vouches for."""

from __future__ import annotations

import shutil
import struct
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diag.collectors import native_stacks, own_stacks
from diag.host import CoreSource, LiveHost
from diag.host.core.unwind import unwind
from diag.host.core.unwind_rows import BadTableError, Table
from diag.model.core import CoreModule, CoreThread
from tests.support.cli import diag
from tests.support.cores import die, gcore
from tests.support.interpreters import on_pythons
from tests.support.processes import running, started, threads_in, wait_until
from tests.support.require import need_tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIGNAL = "<signal handler called>"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A place for cores, which are large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def same_as_gdb(core: Path) -> int:
    """Compare the addresses on each stack, of which gdb gives more: where inlined functions begin."""
    view = LiveHost().inside(CoreSource(path=str(core)))
    files = native_stacks._Files(view.image().modules)
    own = own_stacks.collect(view, view.image(), files.at)
    other = native_stacks._gdb(view, view.image(), files)
    assert own, "the tables lead to no end"
    assert not isinstance(other, str), other
    assert own.keys() == other.keys()
    for tid, frames in own.items():
        addresses = list(dict.fromkeys(frame.address for frame in frames if frame.function != SIGNAL))
        found = list(dict.fromkeys(frame.address for frame in other[tid] if frame.address in addresses))
        assert addresses[: len(found)] == found  # gdb ends at main()
        assert len(found) >= len(addresses) - 3
    return len(own)


@pytest.mark.live
@on_pythons("2.7", "3.13")
def test_a_python_with_threads(python: str, directory: Path) -> None:
    with running(python, "thread_cases.py", "abba_with") as program:
        wait_until(lambda: len(threads_in(program.pid, "futex")) >= 2, "two threads in a futex")
        core = gcore(program.pid, directory)
    assert same_as_gdb(core) == 3


@pytest.mark.live
def test_frames_below_a_signal_handler(directory: Path) -> None:
    source = directory / "caught.c"
    source.write_text(
        "#include <signal.h>\n#include <stdlib.h>\n"
        "void handler(int n) { abort(); }\n"
        "int deep(int n) { volatile int m = n; return m ? deep(m - 1) + 1 : (raise(SIGUSR1), 1); }\n"
        "int main(void) { signal(SIGUSR1, handler); return deep(30); }\n"
    )
    subprocess.run([need_tool("gcc"), "-g", "-O1", "-o", directory / "caught", source], check=True)
    core = die([str(directory / "caught")], directory)
    assert same_as_gdb(core) == 1
    first = diag("core", core).json["core"]["threads"][0]["frames"]
    assert SIGNAL in [frame["function"] for frame in first]
    assert ("deep", 4) in [(frame["function"], frame["line"]) for frame in first]


@pytest.mark.live
@pytest.mark.parametrize(
    ("python", "kind"),
    [
        *((version, "PyDLL") for version in ("2.7", "3.6", "3.8", "3.12", "3.13")),
        ("2.7", "CDLL"),
        ("3.13", "CDLL"),
    ],
    indirect=["python"],
)
def test_who_has_the_interpreter_lock(python: str, kind: str, directory: Path) -> None:
    """A C function called through PyDLL keeps it; called through CDLL it does not."""
    say = "sys.stdout.write('ready\\n'); sys.stdout.flush()"
    code = f"import ctypes, sys; {say}; ctypes.{kind}(None).pause()"
    with started([python, "-c", code]) as (process, _):
        assert process.stdout
        assert process.stdout.readline().startswith("ready")
        wait_until(lambda: bool(threads_in(process.pid, "pause")), "it pauses")
        core = gcore(process.pid, directory)
    (thread,) = diag("core", core).json["core"]["threads"]
    assert thread["owns_gil"] is (kind == "PyDLL"), thread


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_table_of_any_bytes(data: st.DataObject) -> None:
    """A made-up table whose only entry is noise gives a row, nothing, or the one error that is expected."""
    entry = data.draw(st.binary(max_size=80))
    common = (
        bytes([1])
        + data.draw(st.sampled_from([b"zR\0", b"zPLR\0", b"zRS\0", b"\0"]))
        + data.draw(st.binary(max_size=40))
    )
    pieces = struct.pack("<II", 4 + len(common), 0) + common
    frame = len(pieces)
    pieces += struct.pack("<II", 4 + len(entry), frame + 4) + entry
    header = 0x1000 + len(pieces)
    table = struct.pack("<BBBBiIii", 1, 0x1B, 3, 0x3B, 0, 1, -0x1000, 0x1000 + frame - header)
    memory = pieces + table

    def read(address: int, size: int) -> bytes:
        at = address - 0x1000
        return memory[at : at + size] if 0 <= at < len(memory) else b""

    with suppress(BadTableError):
        Table(read, header, len(table)).row(data.draw(st.integers(0, 1 << 20)))


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=64, max_size=4096), st.integers(0, 2**64 - 1), st.integers(0, 4096))
def test_memory_of_any_bytes(noise: bytes, sp: int, pc: int) -> None:
    memory = b"\x7fELF\x02\x01" + noise

    def read(address: int, size: int) -> bytes:
        if not 0x1000 <= address < 0x1000 + len(memory):
            raise OSError(5, "nothing there")
        return memory[address - 0x1000 :][:size]

    thread = CoreThread(tid=1, registers=(("rip", 0x1000 + pc), ("rsp", sp), ("rbp", sp)))
    module = CoreModule(path="/lib/x.so", start=0x1000, end=0x3000, executable=True)
    (found,) = unwind([thread], [module], read)
    assert found.frames[0] == 0x1000 + pc
