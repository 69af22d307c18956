"""Asks the rules; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Fired
from diag.model.report import Report
from diag.rules import judge, rules
from diag.rules.one_cause import told_once
from diag.rules.post_mortem import retold

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.model.core import CoreImage
    from diag.model.finding import Verdict
    from diag.model.snapshot import Snapshot


def diagnose(
    snapshot: Snapshot, *, command: tuple[str, ...], view: str, taken_at: float, families: Iterable[str]
) -> Report:
    """Judge the snapshot by every rule whose code begins with one of ``families``: "LT", or ("L", "C008")."""
    verdicts = told_once([judge(rule, snapshot) for rule in rules(tuple(families))])
    if snapshot.core is not None:
        verdicts = tuple(_of_core(verdict, snapshot.core) for verdict in verdicts)
    return Report(command=command, view=view, snapshot=snapshot, verdicts=verdicts, taken_at=taken_at)


def _of_core(verdict: Verdict, core: CoreImage) -> Verdict:
    if not isinstance(verdict, Fired):
        return verdict
    return Fired(code=verdict.code, findings=tuple(retold(finding, core) for finding in verdict.findings))
