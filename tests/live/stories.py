"""What the tests about locks share: the program of many roles, and its line numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.cli import Answer, diag
from tests.support.processes import PROGRAMS

if TYPE_CHECKING:
    from pathlib import Path

LOCKS = "locks.py"


def line_of(text: str, program: str = LOCKS, nth: int | None = None) -> int:
    """Return the number of the one line of a program that holds ``text``; of several, of the ``nth``."""
    lines = (PROGRAMS / program).read_text(encoding="utf-8").splitlines()
    numbers = [number for number, line in enumerate(lines, 1) if text in line]
    assert nth or len(numbers) == 1, numbers
    return numbers[(nth or 1) - 1]


def diag_locks(path: Path, *more: object) -> Answer:
    """Run ``diag locks PATH``."""
    return diag("locks", path, *more)


def lock_of(answer: Answer, path: Path | None = None) -> dict[str, Any]:
    """Return the one lock of an answer (of ``path``)."""
    locks = [lock for lock in answer.json["locks"] if path is None or lock["path"] == str(path)]
    assert len(locks) == 1, answer
    only: dict[str, Any] = locks[0]
    return only


def pids(actors: list[dict[str, Any]]) -> set[int]:
    """Return the pids of holders, waiters or victims."""
    return {actor["pid"] for actor in actors}


def assert_quiet(answer: Answer) -> None:
    """A healthy host: exit code 0, no finding."""
    assert answer.code == 0, answer
    assert answer.json["findings"] == [], answer
    assert answer.json["verdict"] == "clear", answer
