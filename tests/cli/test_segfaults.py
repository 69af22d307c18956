"""The command itself: exit codes, bad input, hostile text, times."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
from datetime import timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from diag.cli.moments import moment
from diag.errors import UsageError
from tests.crashes.logs import MYSQL, START, celery, segfault
from tests.support.cli import diag, diag_as_nobody
from tests.support.require import need_tool

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "messages"
    path.write_text(segfault(START, name="python", tail=MYSQL) + "\n" + celery(START + 3) + "\n")
    return path


def test_the_founding_incident(log: Path) -> None:
    answer = diag("segfaults", log)
    assert answer.code == 3
    first = answer.json["findings"][0]
    assert (first["code"], first["confidence"]) == ("C001", "likely")
    (event, report) = answer.json["segfaults"]["events"]
    assert event["at"] == {"file": str(log), "line": 1}
    assert (event["program"], event["address"], event["error"], event["map_base"]) == (
        "python",
        "1b8",
        4,
        "7f0000001000",
    )
    assert (report["worker"], report["pid"], report["signal"]) == ("Worker-1", 500, 11)
    (group,) = answer.json["segfaults"]["groups"]
    assert (group["count"], group["offset"], group["reports"]) == (1, 0x10, [{"file": str(log), "line": 2}])


def test_standard_input(log: Path) -> None:
    answer = diag("segfaults", "-", stdin=log.read_text())
    assert answer.code == 3
    assert answer.json["segfaults"]["events"][0]["at"]["file"] == "-"


def test_an_empty_and_a_binary_log_are_clear(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(os.urandom(1 << 20))
    answer = diag("segfaults", tmp_path / "empty", tmp_path / "binary")
    assert (answer.code, answer.json["verdict"]) == (0, "clear")
    assert [(gap["source"], gap["reason"]) for gap in answer.json["gaps"]] == [
        (str(tmp_path / "empty"), "the file is empty"),
        (str(tmp_path / "binary"), "it is no text"),
    ]


def test_a_log_with_a_hole_of_zeros_and_an_archive_are_no_odd_logs(tmp_path: Path) -> None:
    text = "Nov 11 07:00:01 web-01 app: förbi\n".encode()
    (tmp_path / "hole").write_bytes(text * 100 + bytes(500) + text * 100)
    (tmp_path / "old.gz").write_bytes(gzip.compress(text))
    answer = diag("segfaults", tmp_path / "hole", tmp_path / "old.gz")
    assert (answer.code, answer.json["gaps"]) == (0, [])


def test_one_log_of_several_that_cannot_be_read_is_a_gap(log: Path, tmp_path: Path) -> None:
    answer = diag("segfaults", tmp_path / "missing", log)
    assert answer.code == 3
    assert [gap["source"] for gap in answer.json["gaps"]] == [str(tmp_path / "missing")]
    (tmp_path / "quiet").touch()
    blind = diag("segfaults", tmp_path / "missing", tmp_path / "quiet")
    assert (blind.code, blind.json["verdict"]) == (4, "blind")


def test_what_the_kernel_left_out_and_whose_clock_differs_is_said(log: Path, tmp_path: Path) -> None:
    with log.open("a") as file:
        file.write("Nov 11 07:00:09 web-01 kernel: [1009.0] show_signal_msg: 17 callbacks suppressed\n")
    (gap,) = diag("segfaults", log).json["gaps"]
    assert (gap["source"], "17 more faults" in gap["hides"]) == (str(log), True)
    times = [START + at for at in (0, 700, 5000, 5333, 15000)]
    kernel, service = tmp_path / "kern.log", tmp_path / "worker.log"
    kernel.write_text("\n".join(segfault(at, tid=int(at) % 9999) for at in times) + "\n")
    service.write_text("\n".join(celery(at - 3600) for at in times) + "\n")
    answer = diag("segfaults", kernel, service)
    (group,) = answer.json["segfaults"]["groups"]
    assert (group["count"], len(group["reports"])) == (5, 5)
    (gap,) = answer.json["gaps"]
    assert (gap["source"], "1 h 00 min behind" in gap["reason"]) == (str(service), True)


@pytest.mark.parametrize("kind", ["missing", "fifo", "device"])
def test_the_only_log_that_cannot_be_read_is_an_error_with_a_hint(tmp_path: Path, kind: str) -> None:
    path = Path("/dev/null") if kind == "device" else tmp_path / kind
    if kind == "fifo":
        os.mkfifo(path)
    answer = diag("segfaults", path)
    assert answer.code == 1
    assert answer.stderr.startswith(f"diag: {path}: ")
    assert "\nhint: " in answer.stderr


def test_a_log_nobody_may_read_names_who_may(public: Path) -> None:
    path = public / "messages"
    path.touch(mode=0o600)
    answer = diag_as_nobody("segfaults", path)
    assert answer.code == 1
    assert "Permission denied" in answer.stderr
    assert "root" in answer.stderr


def test_what_a_log_says_never_drives_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "log\x1b[31m"
    path.write_text(
        segfault(name="a\x1b]0;x\x07[red]", tail=" in \x1b[2Jlib[bold].so[7f0000001000+2000]") + "\n"
    )
    answer = diag("segfaults", path, "-v", form="terminal")
    assert answer.code == 3
    assert not set(answer.stdout) & {"\x1b", "\x07"}
    assert "[red]" in answer.stdout


def test_only_the_time_asked_for(log: Path) -> None:
    assert (
        diag("segfaults", log, "--since", "2026-11-11 07:00:02+00:00").json["segfaults"]["events"][0]["kind"]
        == "app"
    )
    assert diag("segfaults", log, "--until", "2026-11-11 06:00:00+00:00").code == 0
    wrong = diag("segfaults", log, "--since", "whenever")
    assert wrong.code == 2
    assert "hint: write" in wrong.stderr


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_log(log: Path, tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    packed = tmp_path / "packed"  # known by its first bytes, not by its name
    packed.write_bytes(pack(log.read_bytes()))
    answer = diag("segfaults", packed)
    assert [event["at"]["line"] for event in answer.json["segfaults"]["events"]] == [1, 2]
    assert answer.json["gaps"] == []


def test_a_zstd_log(log: Path) -> None:
    subprocess.run([need_tool("zstd"), "-q", log, "-o", f"{log}.zst"], check=True)
    assert diag("segfaults", f"{log}.zst").codes[0] == "C001"


def test_an_archive_cut_short_gives_what_is_left_and_says_so(log: Path, tmp_path: Path) -> None:
    packed = tmp_path / "messages.1.gz"
    text = log.read_bytes() + b"".join(b"%d ordinary line\n" % number for number in range(200_000))
    packed.write_bytes(gzip.compress(text)[:200_000])
    answer = diag("segfaults", packed)
    assert answer.codes[0] == "C001"
    assert "cut short" in answer.json["gaps"][0]["reason"]


def test_a_directory_is_looked_through(log: Path, tmp_path: Path) -> None:
    deep = tmp_path / "sosreport" / "var" / "log"
    deep.mkdir(parents=True)
    log.rename(deep / "messages")
    (deep / "loop").symlink_to(tmp_path)
    answer = diag("segfaults", tmp_path)
    assert answer.json["segfaults"]["events"][0]["at"]["file"] == str(deep / "messages")
    assert answer.json["segfaults"]["groups"][0]["count"] == 1


def test_only_the_program_library_or_process_asked_for(log: Path) -> None:
    for option, value in (
        ("--program", "python"),
        ("--library", "libmysqlclient"),
        ("--pid", 77),
        ("--pid", 500),
    ):
        answer = diag("segfaults", log, option, value)
        assert len(answer.json["segfaults"]["events"]) == 2, option
    for option, value in (("--program", "perl"), ("--library", "libc"), ("--pid", 1)):
        assert diag("segfaults", log, option, value).code == 0, option


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("now", 0),
        ("-2h", -7200),
        ("3 days ago", -3 * 86400),
        ("90 min ago", -5400),
        ("1h 30min ago", -5400),
        ("-1M", -30.44 * 86400),
        ("2 months ago", -2 * 30.44 * 86400),
        (f"@{START + 5:.0f}", 5),
        ("tomorrow", 17 * 3600),
        ("2026-11-11 07:00 UTC", 0),
        ("today", -(7 * 3600)),
        ("yesterday", -(31 * 3600)),
        ("06:30", -1800),
        ("2026-11-11 07:00:01", 1),
        ("2026-11-11", -(7 * 3600)),
        ("2026-11-11T07:00:00+01:00", -3600),
    ],
)
def test_points_in_time(text: str, seconds: float) -> None:
    assert moment(text, now=START, zone=timezone.utc) == START + seconds


@pytest.mark.parametrize("text", ["", "soon", "2h", "25:00", "2026-02-30", "2 parsecs ago"])
def test_no_points_in_time(text: str) -> None:
    with pytest.raises(UsageError):
        moment(text, now=START, zone=timezone.utc)
