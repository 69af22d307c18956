"""L002: processes wait for each other in a ring of file locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.stories import LOCKS, diag_locks, lock_of, pids
from tests.support.cli import diag
from tests.support.processes import running, wait_for_call

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live

# The kernel refuses a ring of POSIX locks alone (EDEADLK), but no other.
PAIRS = [("flock", "flock"), ("ofd", "ofd"), ("flock", "posix"), ("ofd", "posix")]
CALL = {"flock": "flock", "posix": "fcntl", "ofd": "fcntl"}


@pytest.mark.parametrize(("one", "two"), PAIRS, ids=str)
def test_a_ring_of_two(one: str, two: str, python: str, tmp_path: Path) -> None:
    a, b = tmp_path / "a.lock", tmp_path / "b.lock"
    with (
        running(python, LOCKS, "cycle", a, one, b, two) as first,
        running(python, LOCKS, "cycle", b, two, a, one) as second,
    ):
        wait_for_call(first.pid, CALL[two])
        wait_for_call(second.pid, CALL[one])
        answer = diag_locks(a)

        assert answer.code == 3, answer
        assert answer.codes == ["L002"], answer
        finding = answer.found("L002")
        assert finding["confidence"] == "certain", answer
        ring = {link["waiter"]["pid"] for link in finding["chain"]}
        assert ring == {first.pid, second.pid}, answer
        held = {link["waits_for"]["path"] for link in finding["chain"]}
        assert held == {str(a), str(b)}, answer
        lock = lock_of(answer, a)
        assert pids(lock["holders"]) == {first.pid}
        assert pids(lock["waiters"]) == {second.pid}


def test_a_ring_of_three_and_a_bystander(python: str, tmp_path: Path) -> None:
    a, b, c = (tmp_path / f"{name}.lock" for name in "abc")
    with (
        running(python, LOCKS, "cycle", a, "flock", b, "flock") as one,
        running(python, LOCKS, "cycle", b, "flock", c, "flock") as two,
        running(python, LOCKS, "cycle", c, "flock", a, "flock") as three,
        running(python, LOCKS, "wait", a) as bystander,
    ):
        ring = (one, two, three)
        for program in (*ring, bystander):
            wait_for_call(program.pid, "flock")
        answer = diag("locks", a, b, c)
        assert answer.codes == ["L002"], answer
        finding = answer.found("L002")
        assert {link["waiter"]["pid"] for link in finding["chain"]} == {p.pid for p in ring}
        assert bystander.pid in pids(finding["victims"]), answer
