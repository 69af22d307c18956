"""One finding a cause: several rules may come upon the same one from different ends. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.model.finding import Clear, Finding, Fired
from diag.model.graph import Actor
from diag.rules.lock_causes import LOCKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from diag.model.finding import Verdict

_OF_HALTED = ("L004", "P004", "P005")
"""Rules that name a process which does not run."""
_MIDDLE = ("L005",)
"""Rules that end where they know no more: at a thread which waits for something that is no file lock."""
_ENDS = ("P", "D", "T001", "T002", "T003", "T004", "T005", "T008", "T009", "T010", "T011")
"""Rules that say why such a wait does not end."""


def told_once(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Leave out each finding whose cause another one names as well, or further on."""
    found = [finding for verdict in verdicts if isinstance(verdict, Fired) for finding in verdict.findings]
    kept = _without_middles(_one_for_each_halted(found))
    return tuple(_with(verdict, kept) if isinstance(verdict, Fired) else verdict for verdict in verdicts)


def _with(verdict: Fired, kept: Sequence[Finding]) -> Verdict:
    findings = tuple(finding for finding in kept if finding.code == verdict.code)
    return Fired(code=verdict.code, findings=findings) if findings else Clear(code=verdict.code)


def _one_for_each_halted(found: Sequence[Finding]) -> list[Finding]:
    """A process that does not run may hold a lock, serve files and be somebody's peer: that is one cause."""
    kept: list[Finding] = []
    at: dict[int, int] = {}
    for finding in found:
        culprit = finding.culprit
        if finding.code not in _OF_HALTED or not isinstance(culprit, Actor):
            kept.append(finding)
        elif culprit.pid not in at:
            at[culprit.pid] = len(kept)
            kept.append(finding)
        else:
            kept[at[culprit.pid]] = _joined(kept[at[culprit.pid]], finding)
    return kept


def _joined(one: Finding, other: Finding) -> Finding:
    main, more = sorted((one, other), key=_rank)
    known = _who(main.victims)
    new = tuple(victim for victim in more.victims if not _who([victim]) <= known)
    evidence = tuple(dict.fromkeys((*main.evidence, *more.evidence)))
    return replace(main, victims=(*main.victims, *new), evidence=evidence)


def _rank(finding: Finding) -> int:
    """Which code says most: that of the lock, if the halted process has it itself."""
    last = finding.chain[-1].waits_for.kind if finding.chain else ""
    if finding.code == "L004":
        return 0 if last in LOCKS else 3
    return _OF_HALTED.index(finding.code)


def _without_middles(found: Sequence[Finding]) -> list[Finding]:
    """Leave out chains whose last thread, and all before it, are victims of what another finding names."""
    causes = [(finding, _who(finding.victims)) for finding in found if finding.code.startswith(_ENDS)]
    return [
        finding
        for finding in found
        if finding.code not in _MIDDLE or not any(_explains(finding, *cause) for cause in causes)
    ]


def _explains(middle: Finding, cause: Finding, victims: frozenset[tuple[int, int]]) -> bool:
    ends = [each for each in (middle.culprit, cause.culprit) if isinstance(each, Actor)]
    return len(ends) == 2 and _who([ends[0], *middle.victims]) <= victims | _who(ends[1:])


def _who(actors: Iterable[Actor]) -> frozenset[tuple[int, int]]:
    return frozenset((actor.pid, actor.tid or actor.pid) for actor in actors)
