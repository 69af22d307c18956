"""Programs that really crash: the function, line and instruction that diag names for them."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from tests.collectors.elf.built import addr2line, compiled
from tests.support.cli import NOBODY, diag, diag_as_nobody
from tests.support.crashes import LIBRARY, Crasher, build, whole
from tests.support.processes import PROGRAMS, started, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

pytestmark = pytest.mark.live

FUNCTIONS = {
    "read-null": "read_field",
    "write-null": "write_field",
    "write-constant": "write_constant",
    "divide": "divide",
    "illegal": "illegal",
    "overflow": "recurse",
    "overrun": "overrun",
    "wild": "read_field",
}
SOURCE = (PROGRAMS / "crash.c").read_text(encoding="utf-8").splitlines()


PRINTED = {"read-null", "write-null", "write-constant", "overflow", "overrun"}
"""Page faults: the kernel prints the bytes of their code."""


def proved(group: dict[str, Any]) -> bool:
    code = group["code"]
    told = code["instruction"]
    return code["proven"] or (told is not None and told["source"].startswith("kernel ring buffer"))


def line_of(function: str) -> int:
    return next(number for number, text in enumerate(SOURCE, 1) if f" {function}(" in text and "{" in text)


def crashed(crasher: Crasher, kinds: Iterable[str], *options: object) -> dict[str, dict[str, Any]]:
    """Let each kind of fault happen; return diag's group of each.

    The kernel leaves lines out when there are many, and another program's fault in the same instant makes it
    unclear whose code bytes are whose: those crash again.
    """
    names: dict[str, str] = {}
    found: dict[str, dict[str, Any]] = {}

    def attempt() -> bool:
        for kind in kinds:
            if kind not in found:
                names[kind] = crasher.die(kind)
        answer = diag("segfaults", *options)
        groups = {group["program"]: group for group in answer.json["segfaults"]["groups"]}
        for kind, name in names.items():
            if kind not in found and name in groups and (kind not in PRINTED or proved(groups[name])):
                found[kind] = groups[name]
        return set(found) == set(kinds)

    wait_until(attempt, "a kernel line of every crash", timeout=90)
    return found


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Crasher:
    return build(tmp_path_factory.mktemp("library"))


@pytest.mark.parametrize("form", ["library", "pie", "fixed address"])
def test_function_and_line_are_those_of_addr2line(form: str, library: Crasher, tmp_path: Path) -> None:
    if form == "library":
        crasher, file = library, library.home / LIBRARY
    else:
        crasher = whole(tmp_path, "-g", *(["-no-pie"] if form == "fixed address" else ["-pie"]))
        file = crasher.home / "crash"
    groups = crashed(crasher, FUNCTIONS, "--root", crasher.home)
    for kind, function in FUNCTIONS.items():
        group, code = groups[kind], groups[kind]["code"]
        assert group["symbol"] == function, kind
        assert (code["function"], Path(code["file"]).name, code["line"]) == (
            function,
            "crash.c",
            line_of(function),
        )
        assert addr2line(file, [code["address"]]) == [(function, code["file"], code["line"])]
        assert code["proven"] == (kind in PRINTED), kind


def test_a_stripped_program_names_only_what_it_exports(tmp_path: Path) -> None:
    crasher = whole(tmp_path, "-rdynamic", strip=True)
    code = crashed(crasher, ["read-null"], "--root", crasher.home)["read-null"]["code"]
    assert (code["symbol"], code["table"], code["line"]) == ("read_field", ".dynsym", None)
    crasher = whole(tmp_path, strip=True)
    group = crashed(crasher, ["read-null"], "--root", crasher.home)["read-null"]
    assert (group["symbol"], group["code"]["symbol"]) == (None, None)
    assert "name no function there" in group["code"]["trouble"]
    assert "was NULL" in group["code"]["instruction"]["words"]


def test_the_instruction_tells_which_register_was_null(library: Crasher) -> None:
    groups = crashed(library, ["read-null", "divide", "illegal"], "--root", library.home)
    told = groups["read-null"]["code"]["instruction"]
    assert told["words"].startswith("reads 4 bytes at [")
    assert "+0x1b8]" in told["words"]
    assert told["words"].endswith(" was NULL")
    assert told["source"].startswith("kernel ring buffer:")
    assert "divisor was 0" in groups["divide"]["code"]["instruction"]["words"]
    assert groups["illegal"]["code"]["instruction"]["text"] == "ud2"


def test_code_made_at_run_time_belongs_to_no_file(library: Crasher) -> None:
    groups = crashed(library, ["generated", "call-null", "call-data"], "--root", library.home)
    assert {group["symbol"] for group in groups.values()} == {None}
    assert {group["library"] for group in groups.values()} == {None}


def test_another_build_of_the_same_name_is_not_asked(tmp_path: Path) -> None:
    crasher = build(tmp_path)
    name = crasher.die("read-null")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    compiled(elsewhere / LIBRARY, "-g", "-O2", "-fno-ident")
    os.utime(elsewhere / LIBRARY, (0, 0))  # as old as packages make their files

    def attempt() -> dict[str, Any] | None:
        answer = diag("segfaults", "--root", elsewhere)
        found = [one for one in answer.json["segfaults"]["groups"] if one["program"] == name]
        if not found:
            crasher.die("read-null", name=name)
        return found[0] if found else None

    group = wait_until(attempt, "the kernel's line", timeout=60)
    assert group
    assert (group["symbol"], group["code"]["symbol"], group["code"]["line"]) == (None, None, None)
    assert group["code"]["trouble"]


def group_of(crasher: Crasher, name: str, *options: object) -> dict[str, Any]:
    def attempt() -> dict[str, Any] | None:
        crasher.die("read-null", name=name)
        groups = diag("segfaults", "--program", name, *options).json["segfaults"]["groups"]
        return groups[0] if groups else None

    found = wait_until(attempt, "the kernel's line", timeout=60)
    assert found
    return found


@contextmanager
def living(crasher: Crasher, name: str) -> Iterator[int]:
    """Run a sibling of the crashed: the same program with the same library, which waits."""
    program = crasher.home / name
    shutil.copy(crasher.home / "crash", program)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(crasher.home)}
    with started([str(program), "wait"], env=environment) as (process, _):
        maps = Path(f"/proc/{process.pid}/maps")
        wait_until(lambda: LIBRARY in maps.read_text(), "the library to be mapped")
        yield process.pid


def test_without_root_a_living_sibling_shows_where_the_library_is(tmp_path: Path) -> None:
    crasher = build(tmp_path)
    name = f"sib{secrets.token_hex(5)}"
    with living(crasher, name):
        code = group_of(crasher, name)["code"]
    assert (code["symbol"], code["path"]) == ("read_field", str(crasher.home / LIBRARY))


def test_a_line_of_an_old_kernel_is_placed_by_the_program_headers(tmp_path: Path) -> None:
    crasher = whole(tmp_path, "-g", "-no-pie")
    name = crasher.die("write-null")

    def lines() -> list[str]:
        said = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout.splitlines()
        found = [line for line in said if f" {name}[" in line]
        if not found:
            crasher.die("write-null", name=name)
        return found

    line = wait_until(lines, "the kernel's line", timeout=60)
    assert line
    log = tmp_path / "old.log"
    # Without the place in the file and the processor, which kernels before 6.0 do not print.
    log.write_text(re.sub(r"\[[0-9a-f]+,([0-9a-f]+\+[0-9a-f]+\]).*", r"[\1", line[0]) + "\n")
    (group,) = diag("segfaults", "--root", crasher.home, log).json["segfaults"]["groups"]
    assert (group["symbol"], group["code"]["line"]) == ("write_field", line_of("write_field"))


def test_a_recording_names_the_same_function_without_the_file(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    crasher = build(tmp_path)
    name = crasher.die("read-null")
    group_of(crasher, name, "--root", crasher.home)
    tape = tmp_path / "tape.diag"
    arguments = ("segfaults", "--program", name, "--root", crasher.home, "--format", "json")
    live = diag("record", "-o", tape, "--", *arguments, form="terminal")
    kept = shutil.copy(tape, tmp_path_factory.mktemp("kept"))
    shutil.rmtree(crasher.home, ignore_errors=True)
    again = diag("segfaults", "--program", name, "--replay", kept)
    assert again.stdout == live.stdout
    assert again.json["segfaults"]["groups"][0]["symbol"] == "read_field"


def test_no_crash_loads_no_reader_of_code(tmp_path: Path) -> None:
    log = tmp_path / "quiet.log"
    log.write_text("nothing of interest\n")
    code = (
        "import sys\nfrom diag.cli import cli\n"
        f"cli.main(['segfaults', {str(log)!r}], standalone_mode=False)\n"
        "assert not {'capstone', 'elftools'} & set(sys.modules), sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_a_library_replaced_below_a_living_process_is_c009(tmp_path: Path) -> None:
    crasher = build(tmp_path)
    name = f"old{secrets.token_hex(5)}"
    with living(crasher, name) as pid:
        group_of(crasher, name)
        library = crasher.home / LIBRARY
        fresh = compiled(tmp_path / "fresh.so", "-g", "-O2", "-fno-ident")
        os.replace(fresh, library)  # as package managers do it
        answer = diag("segfaults", "--program", name)
        (group,) = answer.json["segfaults"]["groups"]
        assert group["symbol"] == "read_field"  # out of the old file, which the sibling still has
        found = next(one for one in answer.json["findings"] if one["code"] == "C009")
        assert (found["severity"], found["confidence"]) == ("warning", "certain")
        assert found["victims"][0]["pid"] == pid
        stacks = diag("stacks", pid)
        assert stacks.found("C009")["victims"][0]["pid"] == pid
        assert diag("why", pid).found("C009")["culprit"]["library"] == LIBRARY


def test_another_program_of_the_same_name_is_not_taken_for_the_dead_one(tmp_path: Path) -> None:
    other = build(tmp_path)
    compiled(other.home / LIBRARY, "-g", "-O2", "-fno-ident")
    name = f"app{secrets.token_hex(5)}"
    with living(other, name), TemporaryDirectory() as home:
        dead = build(Path(home))
        group = group_of(dead, name)
    assert (group["symbol"], group["code"]["replaced"]) == (None, None)
    assert group["code"]["trouble"]


def test_a_process_whose_files_are_in_place_has_no_c009(tmp_path: Path) -> None:
    crasher = build(tmp_path)
    with living(crasher, f"fine{secrets.token_hex(5)}") as pid:
        assert "C009" not in diag("stacks", pid).codes
        (crasher.home / LIBRARY).unlink()  # deleted on purpose: nothing took its place
        assert "C009" not in diag("stacks", pid).codes


def test_debug_files_lie_apart(tmp_path: Path) -> None:
    crasher = whole(tmp_path, "-g", "-Wl,--build-id")
    program = crasher.home / "crash"
    notes = subprocess.run(["readelf", "-n", program], capture_output=True, text=True, check=True).stdout
    build_id = notes.partition("Build ID: ")[2].split()[0]
    directory = tmp_path / "symbols" / ".build-id" / build_id[:2]
    directory.mkdir(parents=True)
    debug = directory / f"{build_id[2:]}.debug"
    subprocess.run(["objcopy", "--only-keep-debug", program, debug], check=True)
    subprocess.run(["strip", program], check=True)
    options = ("--root", crasher.home, "--debug-dir", tmp_path / "symbols")
    code = crashed(crasher, ["write-null"], *options)["write-null"]["code"]
    assert (code["symbol"], code["line"], code["build_id"]) == (
        "write_field",
        line_of("write_field"),
        build_id,
    )


def test_files_of_others_hide_the_function_and_nothing_else(tmp_path: Path) -> None:
    crasher = build(tmp_path)
    name = crasher.die("read-null")
    group_of(crasher, name, "--root", crasher.home)
    said = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout.splitlines()
    with TemporaryDirectory() as public:
        home = Path(public)
        home.chmod(0o755)
        (home / "log").write_text(next(line for line in said if f" {name}[" in line) + "\n")
        shutil.copy(crasher.home / LIBRARY, home / LIBRARY)
        (home / LIBRARY).chmod(0o600)
        answer = diag_as_nobody("segfaults", "--root", home, home / "log")
        (group,) = answer.json["segfaults"]["groups"]
        assert (group["symbol"], group["null_offset"]) == (None, 0x1B8)
        assert "can not be read" in group["code"]["trouble"]
        (home / LIBRARY).chmod(0o644)
        answer = diag_as_nobody("segfaults", "--root", home, home / "log")
        assert answer.json["segfaults"]["groups"][0]["code"]["path"] == str(home / LIBRARY)


def test_without_root_a_search_finds_own_files_in_temporary_directories_and_no_strangers() -> None:
    with TemporaryDirectory(dir="/var/tmp") as home:
        crasher = whole(Path(home), "-g")
        name = f"lone{secrets.token_hex(5)}"
        group = group_of(crasher, name)
        assert (group["symbol"], group["code"]["path"]) == ("read_field", f"{home}/{name}")
        os.chown(crasher.home / name, NOBODY, NOBODY)
        (group,) = diag("segfaults", "--program", name).json["segfaults"]["groups"]
        assert group["symbol"] is None
