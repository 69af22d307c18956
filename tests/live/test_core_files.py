"""Cores that are compressed, cut, not named, hostile, or linked to from a log."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import diag
from tests.support.cores import die
from tests.support.interpreters import interpreter
from tests.support.require import need_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.live
NULL = "import ctypes; ctypes.string_at(0)"


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A core of a Python that read through NULL."""
    directory = tmp_path_factory.mktemp("core")
    yield die([interpreter("3.12"), "-c", NULL], directory)
    shutil.rmtree(directory)


@pytest.mark.parametrize(
    ("tool", "options", "ending"),
    [
        ("zstd", ["-q"], "zst"),
        ("lz4", ["-q", "-m"], "lz4"),
        ("gzip", ["-k"], "gz"),
        ("xz", ["-k", "-0"], "xz"),
    ],
)
def test_compressed_cores(core: Path, tmp_path: Path, tool: str, options: list[str], ending: str) -> None:
    copy = tmp_path / "core"
    shutil.copy(core, copy)
    package = {"xz": "xz-utils"}.get(tool, tool)
    subprocess.run([need_tool(tool, package), *options, str(copy)], check=True, capture_output=True)
    before = set(os.listdir("/tmp"))
    answer = diag("core", f"{copy}.{ending}")
    assert answer.codes == ["C003"], answer
    assert answer.json["core"]["complete"]
    assert not [name for name in set(os.listdir("/tmp")) - before if name.startswith("diag-core-")]


def test_a_compressed_core_that_is_cut_short(core: Path, tmp_path: Path) -> None:
    packed = tmp_path / "core.zst"
    subprocess.run([need_tool("zstd"), "-q", "-o", str(packed), str(core)], check=True)
    with open(packed, "r+b") as file:
        file.truncate(packed.stat().st_size // 2)
    answer = diag("core", packed)
    assert answer.code in (1, 3, 4), answer
    assert "cut short" in answer.stderr or not answer.json["core"]["complete"], answer
    packed.write_bytes(b"\x28\xb5\x2f\xfd" + b"\xff" * 500)
    assert diag("core", packed).code == 1


def test_the_newest_core_is_found(core: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("core.111", "core.222", "notes.txt")):
        shutil.copy(core, tmp_path / name)
        os.utime(tmp_path / name, (time.time(), time.time() + 1000 + number))
    answer = diag("core", within=("env", "-C", str(tmp_path)))
    assert answer.json["command"][-1] == str(tmp_path / "core.222"), answer
    answer = diag("core", within=("env", "-C", "/proc"))
    assert answer.code in (1, 3)


def test_a_crash_in_a_log_leads_to_its_core(core: Path, tmp_path: Path) -> None:
    name = f"core.python3.0.{'a' * 32}.4711.{int(time.time())}000000"
    shutil.copy(core, tmp_path / name)
    moment = time.strftime("%b %d %H:%M:%S", time.localtime())
    fault = "segfault at 0 ip 00007f00 sp 00007f01 error 4 in libc.so.6[7f0000+1000]"
    (tmp_path / "messages").write_text(
        f"{moment} web1 kernel: python3[4711]: {fault}\n{moment} web1 kernel: other[4712]: {fault}\n"
    )
    answer = diag("segfaults", "messages", within=("env", "-C", str(tmp_path)))
    cores = {group["program"]: group["cores"] for group in answer.json["segfaults"]["groups"]}
    assert cores == {"python3": [str(tmp_path / name)], "other": []}, answer


def test_the_program_of_a_core_may_lie_elsewhere(core: Path) -> None:
    answer = diag("core", core, "--exe", interpreter("3.12"))
    assert answer.codes == ["C003"], answer
    answer = diag("core", core, "--exe", "/bin/true")
    assert answer.code in (3, 4), answer
    assert answer.json["core"]["pid"]


def test_files_of_another_machine_make_it_less_sure(core: Path, tmp_path: Path) -> None:
    """Without the interpreter's file nobody can tell what is behind a fault: it is not certain any more."""
    answer = diag("core", core, "--root", tmp_path)
    assert answer.code in (3, 4), answer
    assert not any(finding["confidence"] == "certain" for finding in answer.json["findings"]), answer
    assert any("--root DIR" in gap["hint"] for gap in answer.json["gaps"])


@pytest.mark.parametrize(
    ("how", "certain"), [("strip", True), ("remove", False), ("other", False), ("noise", False)]
)
def test_the_program_was_stripped_or_is_gone_or_another(tmp_path: Path, how: str, certain: bool) -> None:
    source, program = tmp_path / "program.c", tmp_path / "program"
    source.write_text(
        "static int deep(int *p, int n) { return n ? deep(p, n - 1) + 1 : *p; }\n"
        "int main(void) { return deep(0, 9); }\n"
    )
    command = [need_tool("gcc"), "-g", "-O1", "-Wl,--build-id", *(["-s"] if how == "strip" else [])]
    subprocess.run([*command, "-o", program, source], check=True)
    dead = die([str(program)], tmp_path)
    if how == "remove":
        program.unlink()
    elif how != "strip":
        program.write_bytes(b"x" * 5000 if how == "noise" else Path("/bin/true").read_bytes())
    answer = diag("core", dead)
    assert answer.codes == ["C003"], answer
    found = answer.found("C003")
    assert "a function without a name in program" in found["summary"]
    assert (found["confidence"] == "certain") is certain
    assert certain or any(str(program) in gap["source"] for gap in answer.json["gaps"])
