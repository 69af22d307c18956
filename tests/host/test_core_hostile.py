"""Mutated real cores: whatever their bytes say, there is a report with gaps or an error with a hint."""

from __future__ import annotations

import os
import shutil
import struct
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diag.cli.core import FAMILIES
from diag.diagnose import diagnose
from diag.errors import DiagError
from diag.host import CoreSource, LiveHost
from diag.investigate import core as cores
from diag.model import signals
from diag.render import renderer
from tests.support.cores import die
from tests.support.crashes import build
from tests.support.interpreters import interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.live
LONGEST = 20.0
"""Seconds one look may take on a loaded machine; measured: 0.2."""
EVIL = (0, 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, 0x1000, 0x7FFFFFFFF000)


class Alone(LiveHost):
    """A host that runs no programs: what pystack and gdb make of a hostile core is theirs."""

    def run(self, *_: Any, **__: Any) -> Any:
        raise FileNotFoundError(2, "not here")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, bytearray]]:
    """Cores of a C program and of a Python."""
    directory = tmp_path_factory.mktemp("cores")
    program = build(directory).home / "crash"
    env = {"LD_LIBRARY_PATH": str(directory)}
    native = die([str(program), "call-data", "thread"], directory, env=env)
    python = die([interpreter("3.12"), "-c", "import ctypes; ctypes.string_at(0)"], directory)
    yield {"native": bytearray(native.read_bytes()), "python": bytearray(python.read_bytes())}
    shutil.rmtree(directory)


def look(data: bytes, path: Path) -> None:
    """Look into a core; anything but a report or an error that has a hint fails."""
    path.write_bytes(data)
    started = time.monotonic()
    host = Alone()
    try:
        snapshot = cores.look(host, CoreSource(path=str(path)))
    except DiagError as error:
        assert error.hint  # noqa: PT017 - either this or a report
    else:
        report = diagnose(snapshot, command=("diag", "core"), view="core", taken_at=0.0, families=FAMILIES)
        for form in ("json", "terminal"):
            text = renderer(form)(report, host, width=80, color=False, verbose=True)
            assert "\x1b" not in text
    assert time.monotonic() - started < LONGEST


def spots(data: bytearray) -> st.SearchStrategy[int]:
    """Places worth damaging: headers and notes, and any other."""
    end = struct.unpack_from("<Q", data, 32)[0] + 56 * struct.unpack_from("<H", data, 56)[0] + 8192
    return st.one_of(st.integers(0, min(end, len(data) - 9)), st.integers(0, len(data) - 9))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("kind", ["native", "python"])
def test_damaged_words(real: dict[str, bytearray], tmp_path: Path, kind: str, data: st.DataObject) -> None:
    core = bytearray(real[kind])
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(spots(core))
        value = data.draw(st.one_of(st.sampled_from(EVIL), st.integers(0, 2**64 - 1)))
        if data.draw(st.booleans()):
            at -= at % 8
            core[at : at + 8] = struct.pack("<Q", value)
        else:
            core[at] = value & 0xFF
    look(bytes(core), tmp_path / "core")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_cut_anywhere(real: dict[str, bytearray], tmp_path: Path, data: st.DataObject) -> None:
    core = real[data.draw(st.sampled_from(["native", "python"]))]
    look(bytes(core[: data.draw(st.integers(0, len(core)))]), tmp_path / "core")


def test_names_and_paths_that_would_drive_a_terminal(real: dict[str, bytearray], tmp_path: Path) -> None:
    core = bytes(real["native"])
    core = core.replace(b"libfaults.so.1", b"\x1b[2Jaults.so").replace(b"./crash", b"\x1b]0;x\x07")
    look(core, tmp_path / "core")


def test_paths_do_not_lead_out_of_the_root(real: dict[str, bytearray], tmp_path: Path) -> None:
    """A core names its files: none of them is read outside of --root, no device or pipe is opened."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "root").mkdir()
    name = str(tmp_path / "fifo").encode()
    core = bytes(real["native"])
    place = core.find(b"/lib")
    changed = core[:place] + name[: len(name)] + b"\0" + core[place + len(name) + 1 :]
    path = tmp_path / "core"
    path.write_bytes(changed)
    for root in (None, str(tmp_path / "root")):
        snapshot = cores.look(Alone(), CoreSource(path=str(path), root=root))
        assert snapshot.core
        if root:
            assert {module.now for module in snapshot.core.modules} <= {"missing", "unknown"}


def test_a_core_of_four_gib_is_not_read_whole(real: dict[str, bytearray], tmp_path: Path) -> None:
    """Memory and time do not grow with it: only what is asked for is read."""
    path = tmp_path / "core"
    path.write_bytes(real["python"])
    with open(path, "r+b") as file:
        file.truncate(4 << 30)  # sparse
    before = _peak()
    snapshot = cores.look(Alone(), CoreSource(path=str(path)))
    assert snapshot.fault
    assert _peak() - before < 100 << 10


def _peak() -> int:
    """The most memory this process has had, in KiB."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


@pytest.mark.parametrize("machine", [3, 183, 243, 255])
def test_registers_that_are_not_known_are_no_jump(
    real: dict[str, bytearray], tmp_path: Path, machine: int
) -> None:
    """Another processor's number in the header: then the instruction is out of sight, not at NULL."""
    path = tmp_path / "core"
    data = bytearray(real["python"])
    struct.pack_into("<H", data, 18, machine)  # e_machine (elf(5))
    path.write_bytes(data)
    snapshot = cores.look(Alone(), CoreSource(path=str(path)))
    report = diagnose(snapshot, command=("diag", "core"), view="core", taken_at=0.0, families=FAMILIES)
    assert "C005" not in {finding.code for finding in report.findings}
    assert "C003" not in {finding.code for finding in report.findings}
    assert any("processor" in f"{gap.hides} {gap.reason}" for gap in snapshot.gaps)


def test_a_core_of_32_bits_is_not_taken_for_one_of_a_living_process(
    real: dict[str, bytearray], tmp_path: Path
) -> None:
    path = tmp_path / "core"
    data = bytearray(real["native"])
    data[4] = 1  # ELFCLASS32
    path.write_bytes(data)
    snapshot = cores.look(Alone(), CoreSource(path=str(path)))
    assert snapshot.core
    assert signals.cause(snapshot.core.signal, 0) == "why it was written, the core does not tell"
    assert any("32-bit" in gap.hides for gap in snapshot.gaps)
