"""A lock table longer than a page, that changes while it is read."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from diag.host import LiveHost
from diag.investigate.second_sample import look_again
from tests.support.processes import running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live


def test_a_lock_that_stays_is_in_every_look(tmp_path: Path) -> None:
    """A read alone missed one of them at every 25th look (measured)."""
    with running(sys.executable, "lock_crowd.py", tmp_path):
        host = LiveHost()
        inodes = {path.stat().st_ino for path in tmp_path.glob("stays-*")}
        standing: frozenset[tuple[object, ...]] = frozenset()
        while len(standing) < len(inodes):
            seen = look_again(host, frozenset()).lines
            standing |= {line for line in seen if line[5] in inodes}
        for _ in range(200):
            assert standing <= look_again(host, standing).lines


def test_a_look_ends_when_a_lock_is_gone(tmp_path: Path) -> None:
    with running(sys.executable, "lock_crowd.py", tmp_path):
        gone = ("gone", 1, 2, 3, 4, 5, 6, 7)
        assert gone not in look_again(LiveHost(), frozenset({gone})).lines
