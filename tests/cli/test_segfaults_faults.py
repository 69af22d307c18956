"""Logs that are damaged, denied, gone or hostile: each is a gap that names the file, and the rest is read."""

from __future__ import annotations

import bz2
import lzma
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from diag.collectors.crash_lines import parse_line
from diag.errors import DiagError
from diag.host import LiveHost, unpack
from diag.investigate import segfaults
from diag.model.crash import LogLine
from tests.crashes.logs import segfault
from tests.support.cli import diag, diag_as_nobody
from tests.support.require import need_tool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ORDINARY = b"".join(
    b"%d an ordinary line of a log that is not the same as the last\n" % n for n in range(40_000)
)


def test_what_is_denied_in_a_directory_is_a_gap_and_the_rest_is_read(public: Path) -> None:
    (public / "messages").write_text(segfault() + "\n")
    os.chmod(public / "messages", 0o644)
    (public / "secret.log").touch(mode=0o600)
    (public / "closed").mkdir(mode=0o700)
    answer = diag_as_nobody("segfaults", public)
    assert answer.code == 3
    assert len(answer.json["segfaults"]["events"]) == 1
    gaps = {gap["source"]: gap for gap in answer.json["gaps"]}
    assert set(gaps) == {str(public / "secret.log"), str(public / "closed")}
    assert all("root" in gap["hint"] and "ermission" in gap["reason"] for gap in gaps.values())


def zstd(data: bytes) -> bytes:
    return subprocess.run(
        [need_tool("zstd"), "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True
    ).stdout


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress, zstd], ids=["bz2", "xz", "zst"])
def test_an_archive_cut_short_is_a_gap_and_what_it_gave_is_searched(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    packed = pack(segfault().encode() + b"\n" + ORDINARY + os.urandom(3 << 20))
    (tmp_path / "messages").write_bytes(packed[: len(packed) - 1000])
    answer = diag("segfaults", tmp_path / "messages")
    assert answer.code == 3
    assert [gap["source"] for gap in answer.json["gaps"]] == [str(tmp_path / "messages")]
    assert "cut short" in answer.json["gaps"][0]["reason"]


def test_a_damaged_archive_is_a_gap(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"\x1f\x8b" + b"\x08" + os.urandom(5000))
    (tmp_path / "quiet").write_text("x\n")
    answer = diag("segfaults", tmp_path)
    assert (answer.code, [gap["source"] for gap in answer.json["gaps"]]) == (4, [str(tmp_path / "a.gz")])


def test_a_decompression_bomb_ends_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "LIMIT", 64 << 20)
    bomb = tmp_path / "bomb.xz"
    bomb.write_bytes(lzma.compress(segfault().encode() + b"\n" + b"\0" * (200 << 20)))
    assert bomb.stat().st_size < 1 << 20
    snapshot = segfaults.look(LiveHost(), (str(bomb),))
    assert [event.pid for event in snapshot.crashes] == [77]
    assert "unpacks to more than" in snapshot.gaps[0].reason


def test_a_file_that_vanishes_before_it_is_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(segfault() + "\n")
    (tmp_path / "b").write_text("x\n")
    snapshot = segfaults.look(
        LiveHost(),
        (str(tmp_path),),
        tell=lambda text: (tmp_path / "b").unlink() if text.endswith("/b") else None,
    )
    assert len(snapshot.crashes) == 1
    assert [gap.source for gap in snapshot.gaps] == [str(tmp_path / "b")]
    with pytest.raises(DiagError, match="No such file"):
        segfaults.look(LiveHost(), (str(tmp_path / "b"),))


def test_zeros_rubbish_and_no_utf8_around_a_line_do_not_hide_it(tmp_path: Path) -> None:
    line = segfault(name="python").encode()
    log = tmp_path / "messages"
    log.write_bytes(
        b"\0" * 100_000
        + b"\n"
        + os.urandom(200_000)
        + b"\n\xff\xfe"
        + line
        + b"\r\n"
        + b"\xe9" * 50_000
        + b"\n"
    )
    (event,) = diag("segfaults", log).json["segfaults"]["events"]
    assert (event["program"], event["library"]) == ("python", "libx.so")


def test_a_line_that_a_program_wrote_to_the_kernels_ring_is_not_the_kernels() -> None:
    fault = "[  123.456789] app[77]: segfault at 1b8 ip 00007f0000001010 sp 00007f0000f00000 error 4"
    at = LogLine(file="ring", line=1)
    own, other = parse_line(f"<6>{fault}", at), parse_line(f"<14>{fault}", at)
    assert own is not None
    assert other is not None
    assert own.tag in {"kernel", None}
    assert other.tag == "a program through /dev/kmsg"


def test_a_forged_line_is_told_as_such(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(segfault().replace("kernel:", "webapp[5]:") + "\n")
    finding = diag("segfaults", log).json["findings"][0]
    assert finding["confidence"] == "possible"
    assert any("webapp" in text for text in finding["against"])
