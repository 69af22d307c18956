"""The answer to one command, ready for any renderer."""

from __future__ import annotations

from diag.model.facts import Fact
from diag.model.finding import Blind, Finding, Fired, Verdict
from diag.model.snapshot import Snapshot

_ORDER = {"critical": 0, "warning": 1, "info": 2, "certain": 0, "likely": 1, "possible": 2}


_UNEXPLAINED = "C012"
"""It is certain that this was a crash, but not why: the reader wants a cause first, where there is one."""


def _rank(finding: Finding) -> tuple[object, ...]:
    unexplained = finding.code == _UNEXPLAINED
    return _ORDER[finding.severity], unexplained, _ORDER[finding.confidence], finding.code


class Report(Fact, frozen=True, kw_only=True):
    """What was asked, what was seen, what was concluded."""

    command: tuple[str, ...]  # argv without options that only concern output
    view: str  # whose facts to show: "locks", "stacks", "segfaults"
    snapshot: Snapshot
    verdicts: tuple[Verdict, ...]
    taken_at: float  # seconds since the epoch

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, worst and surest first, of equal weight those that name a cause."""
        found = [f for verdict in self.verdicts if isinstance(verdict, Fired) for f in verdict.findings]
        return tuple(sorted(found, key=_rank))

    @property
    def verdict(self) -> str:
        """``fired``, ``blind`` or ``clear``, as design.md has it."""
        if self.findings:
            return "fired"
        return "blind" if any(isinstance(v, Blind) for v in self.verdicts) else "clear"

    @property
    def exit_code(self) -> int:
        """0 nothing found, 3 something found, 4 nothing found but something was hidden."""
        return {"clear": 0, "fired": 3, "blind": 4}[self.verdict]
