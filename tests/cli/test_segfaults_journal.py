"""Real journal files, alone and in a directory beside other logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from diag.collectors import journal as module
from diag.collectors import log_sources
from diag.host import LiveHost
from diag.investigate.segfaults import look
from tests.crashes.logs import START, celery, segfault
from tests.support.cli import diag
from tests.support.journals import kernel, service, write_journal

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    fault = segfault(START, name="python").partition("] ")[2]
    said = celery(START + 3).partition("] ")[2]
    quiet = [(START - 60 - number, service("nginx", f"GET /{number}")) for number in range(50)]
    directory = tmp_path / "journal" / "0123456789abcdef0123456789abcdef"
    directory.mkdir(parents=True)
    return write_journal(
        directory / "system.journal", *quiet, (START, kernel(fault)), (START + 3, service("celery", said))
    )


def test_a_journal_file_holds_both_sides_of_the_story(journal: Path) -> None:
    answer = diag("segfaults", journal)
    events = answer.json["segfaults"]["events"]
    assert [(event["form"], event["written_by"]) for event in events] == [
        ("segfault", "kernel"),
        ("billiard-exit", "celery"),
    ]
    assert events[0]["time"] == "2026-11-11T07:00:00.000+00:00"
    assert events[0]["at"]["file"] == str(journal)
    (group,) = answer.json["segfaults"]["groups"]
    assert (group["count"], len(group["reports"])) == (1, 1)


def test_a_copied_var_log_is_read_whole_and_each_event_counts_once(journal: Path, tmp_path: Path) -> None:
    (tmp_path / "messages").write_text(segfault(START, name="python") + "\n")
    answer = diag("segfaults", tmp_path)
    (group,) = answer.json["segfaults"]["groups"]
    assert (group["count"], len(group["reports"])) == (1, 1)
    fault = next(event for event in answer.json["segfaults"]["events"] if event["form"] == "segfault")
    names = {fault["at"]["file"], *(also["file"] for also in fault["also"])}
    assert names == {str(tmp_path / "messages"), str(journal)}
    assert answer.json["gaps"] == []


def test_a_journal_is_read_from_the_time_asked_for(journal: Path) -> None:
    answer = diag("segfaults", journal, "--since", "2026-11-11 07:00:02+00:00")
    assert [event["form"] for event in answer.json["segfaults"]["events"]] == ["billiard-exit"]


def test_a_torn_journal_file_is_a_gap_and_the_rest_is_read(journal: Path, tmp_path: Path) -> None:
    torn = journal.with_name("torn.journal")
    torn.write_bytes(journal.read_bytes()[:300])
    answer = diag("segfaults", tmp_path / "journal")
    assert len(answer.json["segfaults"]["events"]) == 2
    assert [gap["source"] for gap in answer.json["gaps"]] == [str(torn)]


def test_a_recording_holds_what_the_journal_said(journal: Path, tmp_path: Path) -> None:
    recording = tmp_path / "recording"
    live = diag("record", "-o", recording, "--", "segfaults", "--format", "json", journal, form="terminal")
    journal.unlink()
    assert live.stdout == diag("segfaults", journal, "--replay", recording).stdout


def test_of_a_long_journal_of_this_host_the_newest_lines_are_read_and_a_gap_says_so(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*module._JOURNALCTL, f"--file={journal}")
    monkeypatch.setattr(module, "_JOURNALCTL", words)
    monkeypatch.setattr(module, "LINES", 2)
    monkeypatch.setattr(log_sources, "DIRECTORY", "/nonexistent")
    monkeypatch.setattr(LiveHost, "kernel_log", lambda _: b"")
    found = look(LiveHost(), ())
    assert [event.form for event in found.crashes] == ["segfault", "billiard-exit"]
    (gap,) = found.gaps
    assert (gap.source, gap.reason) == ("journal", "its newest 2 entries were read, and none that are older")
    assert "--since" in gap.hint
    monkeypatch.setattr(module, "LINES", 100)
    assert look(LiveHost(), ()).gaps == ()
