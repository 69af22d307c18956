"""Programs that really crash; what the real kernel says of it; what diag makes of that."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import Answer, diag
from tests.support.crashes import LIBRARY, Crasher, build, rsyslog
from tests.support.processes import wait_until
from tests.support.require import need_tool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def crasher(tmp_path_factory: pytest.TempPathFactory) -> Crasher:
    return build(tmp_path_factory.mktemp("crasher"))


def after(crash: Callable[[], str], *logs: object) -> tuple[str, Answer]:
    """Crash until the kernel's line is in the log: the kernel leaves lines out when there are many.

    The ring is full of what other tests crashed: only this program is asked for.
    """

    def attempt() -> tuple[str, Answer] | None:
        name = crash()
        answer = diag("segfaults", "--program", name, *logs)
        return (name, answer) if events(answer, name) else None

    found = wait_until(attempt, "a line of the crash in the log", timeout=60)
    assert found
    return found


def events(answer: Answer, name: str) -> list[dict[str, Any]]:
    return [event for event in answer.json["segfaults"]["events"] if event.get("program") == name]


def group(answer: Answer, name: str) -> dict[str, Any]:
    (only,) = [one for one in answer.json["segfaults"]["groups"] if one["program"] == name]
    found: dict[str, Any] = only
    return found


def codes(answer: Answer, name: str) -> list[str]:
    return [finding["code"] for finding in answer.json["findings"] if name in finding["summary"]]


@pytest.mark.parametrize("where", ["main", "thread"])
@pytest.mark.parametrize(
    ("how", "access"), [("read-null", "read"), ("write-null", "write")], ids=["read", "write"]
)
def test_null_plus_offset_in_a_library(crasher: Crasher, how: str, access: str, where: str) -> None:
    name, answer = after(lambda: crasher.die(how, where))
    assert answer.code == 3
    assert codes(answer, name) == ["C003"]
    (event,) = events(answer, name)
    assert event["decoded"]["access"] == access
    assert event["decoded"]["null_offset"] == 0x1B8
    assert event["decoded"]["thread"] == ("main" if where == "main" else "other")
    assert group(answer, name)["library"] == LIBRARY


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ("call-null", "C005", "NULL (a function pointer that was never set)"),
        ("call-data", "C005", "holds data and must not be executed"),
        ("divide", "C011", "divided by zero"),
        ("illegal", "C011", "an illegal instruction"),
        ("overflow", "C004", "ran out of stack"),
        ("write-constant", "C012", "the page is read-only"),
        ("wild", "C012", "an address no program can have"),
        ("far-null", "C003", "NULL+0x5004"),
        ("before-null", "C003", "rax was NULL"),
    ],
)
@pytest.mark.parametrize("where", ["main", "thread"])
def test_each_kind_of_fault_has_its_cause(
    crasher: Crasher, how: str, code: str, words: str, where: str
) -> None:
    name, answer = after(lambda: crasher.die(how, where))
    assert codes(answer, name) == [code]
    (finding,) = [one for one in answer.json["findings"] if name in one["summary"]]
    assert words in finding["summary"]
    assert ("not in the main thread" if where == "thread" else ", in the main thread") in finding["summary"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("smash", "the return address on the stack was overwritten"),
        ("call-wild", "the function pointer was freed or overwritten"),
    ],
)
@pytest.mark.parametrize("where", ["main", "thread"])
def test_an_address_no_program_can_have_was_to_be_executed(
    crasher: Crasher, how: str, words: str, where: str
) -> None:
    # Of traps no bytes are printed: other tests' builds of the same name might be the one, too.
    name, answer = after(lambda: crasher.die(how, where), "--root", crasher.home)
    assert codes(answer, name) == ["C005"]
    (finding,) = [one for one in answer.json["findings"] if name in one["summary"]]
    assert words in finding["summary"]


def test_a_stack_pointer_that_was_overwritten_is_no_file_that_became_shorter(crasher: Crasher) -> None:
    name, answer = after(lambda: crasher.die("lose-stack"))
    (finding,) = [one for one in answer.json["findings"] if name in one["summary"]]
    assert finding["code"] == "C011"
    assert "rsp or rbp was overwritten" in finding["summary"]


def test_a_client_library_in_a_thread_is_a_shared_connection(tmp_path: Path) -> None:
    crasher = build(tmp_path, "libmariadb.so.3")
    name, answer = after(lambda: crasher.die("read-null", "thread"))
    first = next(finding for finding in answer.json["findings"] if name in finding["summary"])
    assert (first["code"], first["confidence"]) == ("C001", "likely")
    assert first["culprit"]["library"] == "libmariadb.so.3"
    name, answer = after(lambda: crasher.die("read-null", "main"))
    first = next(finding for finding in answer.json["findings"] if name in finding["summary"])
    assert (first["code"], first["confidence"]) == ("C001", "possible") or first["code"] == "C003"


def test_the_offset_is_that_of_the_function(crasher: Crasher) -> None:
    name, answer = after(lambda: crasher.die("read-null"))
    (event,) = events(answer, name)
    if "map_offset" not in event:
        pytest.skip("kernels before 6.0 print no place in the file")
    reader = need_tool("addr2line", "binutils")
    offset = hex(group(answer, name)["offset"])
    told = subprocess.run(
        [reader, "-fe", crasher.home / LIBRARY, offset], capture_output=True, text=True, check=True
    )
    assert told.stdout.startswith("read_field\n")


def test_the_kernels_line_through_rsyslog_is_the_one_of_the_ring_buffer(
    crasher: Crasher, tmp_path: Path
) -> None:
    with rsyslog(tmp_path) as messages:
        name, answer = after(lambda: crasher.die("read-null", "thread"), messages)
    (event,) = events(answer, name)
    assert (event["at"]["file"], event["written_by"]) == (str(messages), "kernel")
    lines = messages.read_text(errors="replace").splitlines()
    assert f"{name}[" in lines[event["at"]["line"] - 1]
    assert codes(answer, name) == ["C003"]
    copy = tmp_path / "kern.log"
    copy.write_bytes(messages.read_bytes())
    twice = diag("segfaults", messages, copy)
    assert group(twice, name)["count"] == 1
    assert events(twice, name)[0]["also"] == [{"file": str(copy), "line": event["at"]["line"]}]


def test_a_recording_replays_to_the_same_bytes(crasher: Crasher, tmp_path: Path) -> None:
    after(lambda: crasher.die("read-null"))
    recording = tmp_path / "incident.diag"
    live = diag("record", "-o", recording, "--", "segfaults", "--format", "json", form="terminal")
    again = diag("segfaults", "--replay", recording)
    assert live.code == again.code == 3
    assert live.stdout == again.stdout
