"""The search through a log: right lines, right numbers, whatever the file is made of."""

from __future__ import annotations

import errno
import gzip
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diag.host import LiveHost, cut, stream
from diag.host import search as module
from diag.host.finder import Finder
from diag.host.needle_groups import BUCKETS, DEPTH, groups
from diag.host.records import Hit
from diag.host.search import search

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDLES = ("needle", "] trap ", "edle at")


def small(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "PIECE", 32)
    patch.setattr(stream, "PIECE", 32)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pieces so small that every line meets their borders."""
    small(monkeypatch)


def hits(path: object) -> list[Hit]:
    return [hit for batch in search(str(path), NEEDLES) for hit in batch]


def naive(data: bytes) -> list[Hit]:
    found, offset = [], 0
    for number, line in enumerate(data.split(b"\n"), start=1):
        if any(needle.encode() in line for needle in NEEDLES):
            found.append(Hit(number, offset, line.removesuffix(b"\r")))
        offset += len(line) + 1
    return found


WORDS = st.sampled_from(
    [b"needle", b"] trap ", b"edle at", b"need", b"\n", b"\n\n", b"x" * 9, b"\0", b"\xff", b"\r\n"]
)


@given(st.lists(WORDS, max_size=60).map(b"".join))
@settings(max_examples=300, deadline=None)
def test_finds_what_a_plain_loop_finds(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        assert hits(path) == naive(data)


# A stream looks one piece ahead, so no line may be longer than a piece: 27 bytes here, 32 there.
LINES = st.lists(st.lists(WORDS, max_size=3).map(b"".join), max_size=30).map(b"\n".join)


@given(LINES)
@settings(max_examples=200, deadline=None)
def test_a_stream_gives_the_same_as_a_file(data: bytes) -> None:
    # Lines reach across one border at most: a real piece is longer than the longest line that is kept.
    data = b"\n".join(line[:32] for line in data.split(b"\n"))
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        reader, writer = os.pipe()
        os.write(writer, data)
        os.close(writer)
        try:
            assert hits(f"/dev/fd/{reader}") == naive(data)
        finally:
            os.close(reader)


def test_standard_input() -> None:
    program = "from diag.host.search import search\nprint([b for b in search('-', ['needle'])])"
    done = subprocess.run(
        [sys.executable, "-c", program], input=b"a\nneedle b\n", capture_output=True, check=True
    )
    assert done.stdout == b"[(Hit(number=2, offset=2, text=b'needle b', after=b''),)]\n"


@pytest.mark.usefixtures("tiny")
def test_a_line_without_end_is_cut_and_given_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_LIMIT", 40)
    monkeypatch.setattr(cut, "LINE_LIMIT", 40)
    log = tmp_path / "log"
    log.write_bytes(b"a\n" + b"x" * 500 + b"needle" + b"y" * 500 + b"needle" + b"\nb\nneedle\n")
    found = hits(log)
    assert [hit.number for hit in found] == [2, 2, 4]
    assert all(len(hit.text) <= 80 and b"needle" in hit.text for hit in found)


def test_a_hundred_mebibytes_without_newline_stay_small(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.truncate(100 << 20)
        file.seek(60 << 20)
        file.write(b"needle")
    program = (
        "import sys\nfrom diag.host.search import search\n"
        "print([(h.number, len(h.text)) for b in search(sys.argv[1], ['needle']) for h in b])\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run([sys.executable, "-c", program, log], capture_output=True, check=True, text=True)
    what, used = done.stdout.splitlines()
    assert what == f"[(1, {2 * cut.LINE_LIMIT})]"
    assert int(used) < 80 << 10  # KiB


@pytest.mark.usefixtures("tiny")
def test_a_file_cut_short_while_it_is_read_ends_there(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"needle\n" * 1000)
    batches: Iterator[tuple[Hit, ...]] = search(str(log), NEEDLES)
    first = next(batches)
    os.truncate(log, 70)
    rest = [hit for batch in batches for hit in batch]
    assert first[0] == Hit(1, 0, b"needle")
    assert len(first) + len(rest) < 1000


@pytest.mark.usefixtures("tiny")
def test_a_file_rotated_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"needle\n" * 1000)
    batches = search(str(log), NEEDLES)
    count = len(next(batches))
    log.rename(tmp_path / "log.1")
    log.write_bytes(b"")
    assert count + sum(len(batch) for batch in batches) == 1000


def test_what_is_no_log_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, code in (
        (tmp_path, errno.EISDIR),
        (tmp_path / "fifo", errno.EINVAL),
        ("/dev/zero", errno.EINVAL),
        ("/proc/kmsg", errno.EINVAL),  # to read it takes messages away from others
        ("/sys/kernel/uevent_seqnum", errno.EINVAL),
    ):
        with pytest.raises(OSError, match=r"is a") as caught:
            hits(path)
        assert caught.value.errno == code
    with pytest.raises(FileNotFoundError):
        hits(tmp_path / "missing")


def test_an_empty_file_and_one_that_only_ends_in_a_needle(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"")
    assert hits(tmp_path / "log") == []
    (tmp_path / "log").write_bytes(b"\n\nneedle")
    assert hits(tmp_path / "log") == [Hit(3, 2, b"needle")]


@given(
    st.lists(st.text("ab: ]", min_size=1, max_size=6), min_size=1, max_size=90, unique=True),
    st.text("ab: ]x"),
)
@settings(max_examples=200, deadline=None)
def test_texts_sorted_into_groups_are_all_found(needles: list[str], text: str) -> None:
    begins = Finder(needles).begins(text.encode())
    assert bool(begins) == any(needle in text for needle in needles)
    assert all(any(text.startswith(needle, begin) for needle in needles) for begin in begins)
    grouped = groups([needle.encode() for needle in needles])
    assert {one for group in grouped for one in group} == {needle.encode() for needle in needles}
    assert max(map(len, grouped)) <= BUCKETS * DEPTH


def test_several_compressed_files_at_once_give_what_each_gives_alone(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"log.{number}.gz") for number in range(6)]
    for number, path in enumerate(paths):
        lines = [
            b"needle %d of %d" % (line, number) if line % 50 == 0 else b"hay" * 9 for line in range(30_000)
        ]
        Path(path).write_bytes(gzip.compress(b"\n".join(lines), 1))
    whole = Path(paths[2]).read_bytes()
    Path(paths[2]).write_bytes(whole[: len(whole) // 2])
    alone = [_all_of(LiveHost(), path) for path in paths]
    host = LiveHost()
    host.search_soon([*paths, str(tmp_path / "gone")], NEEDLES, lambda _: 0)
    assert [_all_of(host, path) for path in paths] == alone
    assert [len(found) for found, error in alone if not error] == [600] * 5
    assert alone[2][1] == errno.EBADMSG
    assert 0 < len(alone[2][0]) < 600
    host.search_soon(paths, NEEDLES, lambda _: 0)
    assert _all_of(host, paths[5]) == alone[5]  # out of turn
    next(host.search(paths[0], NEEDLES, lambda _: 0))  # left half-way
    assert _all_of(host, paths[1]) == alone[1]
    host.search_soon([], NEEDLES, lambda _: 0)  # the others are stopped


def test_an_archive_cut_short_gives_all_that_was_unpacked(tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=31)
    data = packer.compress(b"hay\n" * 700_000 + b"needle at the end\n") + packer.flush(zlib.Z_SYNC_FLUSH)
    (tmp_path / "log.gz").write_bytes(data)
    found, error = _all_of(LiveHost(), str(tmp_path / "log.gz"))
    assert ([hit.text for hit in found], error) == ([b"needle at the end"], errno.EBADMSG)


def test_a_search_whose_process_is_killed_is_told(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{number}.gz") for number in range(2)]
    for path in paths:
        Path(path).write_bytes(gzip.compress(os.urandom(1 << 20) + b"needle\n" * 100_000, 1))
    host, others = LiveHost(), _children()
    host.search_soon(paths, NEEDLES, lambda _: 0)
    for child in _children() - others:
        os.kill(child, signal.SIGKILL)
    assert [_all_of(host, path)[1] for path in paths] == [errno.EIO, errno.EIO]


def _children() -> set[int]:
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


def _all_of(host: LiveHost, path: str) -> tuple[list[Hit], int | None]:
    found: list[Hit] = []
    try:
        for batch in host.search(path, NEEDLES, lambda _: 0):
            found += batch
    except OSError as error:
        return found, error.errno
    return found, None
