"""``diag explain``, as its readers use it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from diag.rules import FILES
from diag.rules.catalogue import CATALOGUE
from tests.support.cli import diag
from tests.support.locked import ROOT


def explain(*args: str) -> str:
    answer = diag("explain", *args, form="terminal")
    assert answer.code == 0, answer
    return answer.stdout


def test_a_page_is_printed_as_it_is_in_a_pipe() -> None:
    page = (ROOT / "docs" / "rules" / "L001.md").read_text(encoding="utf-8")
    title, _, rest = page.partition("\n")
    assert explain("L001").startswith(title)
    assert explain("L001").endswith(rest)


@pytest.mark.parametrize("name", ["l001", "self-deadlock", "Self-Deadlock"])
def test_codes_and_names_in_any_case(name: str) -> None:
    assert explain(name) == explain("L001")


def test_without_a_code_all_are_listed() -> None:
    listing = explain()
    for entry in CATALOGUE:
        assert f"| {entry.slug} | {entry.meaning} |" in listing


def test_a_code_without_a_rule_says_so_first() -> None:
    ruled = set(FILES)
    for entry in CATALOGUE:
        if entry.code in ruled or entry.code[1:] != "001":
            continue
        first = explain(entry.code).splitlines()[2]
        assert f"has no rule for {entry.code} yet" in first
    assert "no rule" not in explain(next(iter(FILES)))


@pytest.mark.parametrize(
    ("name", "hint"),
    [("self-deadlok", "self-deadlock"), ("l01", "L001"), ("\x1b[31m", "lists them all")],
)
def test_an_unknown_code_is_a_usage_error_with_a_way_on(name: str, hint: str) -> None:
    answer = diag("explain", name, form="terminal")
    assert answer.code == 2
    assert hint in answer.stderr
    assert "\x1b" not in answer.stderr


def test_json() -> None:
    answer = diag("explain", "L003")
    assert answer.json["schema"] == "diag/1"
    (only,) = answer.json["explain"]
    assert (only["code"], only["slug"]) == ("L003", "inherited-lock")
    assert only["page"].startswith("# L003 inherited-lock")
    everything = json.loads(diag("explain").stdout)["explain"]
    assert [item["code"] for item in everything] == [entry.code for entry in CATALOGUE]


def on_a_terminal(*words: str, env: dict[str, str]) -> str:
    """Run diag on a pseudo terminal; return all it wrote there."""
    own, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "diag", *words],
        stdin=other,
        stdout=other,
        stderr=other,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", **env},
    )
    os.close(other)
    text = b""
    try:
        while piece := os.read(own, 65536):
            text += piece
    except OSError:
        pass  # EIO: the last writer has closed it
    finally:
        process.wait()
        os.close(own)
    return text.decode()


def test_on_a_terminal_it_is_laid_out_and_respects_no_color() -> None:
    colorful = on_a_terminal("explain", "L001", env={"COLUMNS": "80"})
    assert "## What it means" not in colorful
    assert "\x1b[" in colorful
    assert max(map(len, colorful.replace("\r", "").split("\n"))) < 200
    colorless = on_a_terminal("explain", "L001", env={"NO_COLOR": "1"})
    assert "\x1b[3" not in colorless.replace("\x1b[3m", "")  # italics are no color
