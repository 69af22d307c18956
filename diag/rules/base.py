"""What a rule is, and how it is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from diag.model.finding import Blind, Clear, Finding, Fired, Verdict
from diag.model.snapshot import Snapshot

Check: TypeAlias = Callable[[Snapshot], Iterator[Finding]]


class Rule(NamedTuple):
    """One root cause: its published code, its name, and the pure function that looks for it."""

    code: str
    slug: str
    check: Check


def judge(rule: Rule, snapshot: Snapshot) -> Verdict:
    """Ask one rule. Silence means health only if nothing it needs was out of sight."""
    if findings := tuple(rule.check(snapshot)):
        return Fired(code=rule.code, findings=findings)
    if gaps := tuple(gap for gap in snapshot.gaps if rule.code in gap.blinds):
        return Blind(code=rule.code, gaps=gaps)
    return Clear(code=rule.code)
