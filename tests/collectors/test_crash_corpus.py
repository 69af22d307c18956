"""Every line of a corpus of crash lines from public reports, kept outside this repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from diag.collectors.crash_lines import NEEDLES, parse_line
from diag.model.crash import CrashEvent, LogLine

CORPUS = Path(__file__).parents[3] / "shared" / "crash-lines.jsonl"
AT = LogLine(file="corpus", line=1)

pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason=f"no corpus at {CORPUS}")


def lines() -> list[dict[str, Any]]:
    with CORPUS.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def told(event: CrashEvent) -> dict[str, Any]:
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return {**fields, **dict(event.details)}


def complete(entry: dict[str, Any]) -> bool:
    """Whether the entry could be found: the end of a line that was wrapped has no literal of its own."""
    return not (entry["kind"] == "truncated" and entry["line"].strip().startswith("0x"))


def test_every_complete_line_gives_its_fields() -> None:
    wrong = []
    for entry in lines():
        if entry["kind"] == "near-miss" or not complete(entry):
            continue
        event = parse_line(entry["line"], AT)
        if event is None:
            # What is left of some lines is a time stamp.
            if entry["kind"] != "truncated" or set(entry["expect"]) - {"log_time", "uptime"}:
                wrong.append((entry["line"], "not recognised"))
            continue
        fields = told(event)
        wrong += [
            (entry["line"], f"{name}: {fields.get(name)!r}, not {value!r}")
            for name, value in entry["expect"].items()
            if fields.get(name) != value
        ]
    assert not wrong


def test_every_line_that_counts_is_of_its_kind() -> None:
    for entry in lines():
        if entry["kind"] in ("near-miss", "truncated"):
            continue
        event = parse_line(entry["line"], AT)
        assert event is not None, entry["line"]
        # Cut before the end of its mapping, yet listed among whole ones.
        cut = entry["line"].rstrip().endswith(".so")
        assert event.kind == entry["kind"] or cut, entry["line"]


def test_no_near_miss_counts() -> None:
    assert [
        entry["line"] for entry in lines() if entry["kind"] == "near-miss" and parse_line(entry["line"], AT)
    ] == []


def test_the_needles_find_every_line_that_is_recognised() -> None:
    for entry in lines():
        if parse_line(entry["line"], AT):
            assert any(needle in entry["line"] for needle in NEEDLES), entry["line"]
