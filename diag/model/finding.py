"""What a rule concludes."""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from diag.model.facts import Evidence, Fact, Gap, Where
from diag.model.graph import Actor, Hold, Resource


class Severity(str, Enum):
    """How bad it is, if true."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Confidence(str, Enum):
    """How sure we are: read from kernel or memory; partly inferred; a pattern."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


class Library(Fact, frozen=True, kw_only=True):
    """The culprit of a crash: code, not a process that still runs."""

    library: str
    symbol: str | None = None
    offset: int | None = None  # bytes into the file


class Link(Fact, frozen=True, kw_only=True):
    """One hop of a wait chain."""

    waiter: Actor
    waits_for: Resource
    held_by: tuple[Actor, ...]
    where: Where | None = None  # the line of the waiter


class Finding(Fact, frozen=True, kw_only=True):
    """One root cause with its evidence; ``evidence[0]`` is where to look first."""

    code: str
    slug: str
    summary: str
    severity: Severity
    confidence: Confidence
    evidence: tuple[Evidence, ...]
    culprit: Actor | Library | None = None
    victims: tuple[Actor, ...] = ()
    resource: Resource | None = None
    chain: tuple[Link, ...] = ()
    against: tuple[str, ...] = ()  # what speaks against it
    remedy: tuple[str, ...] = ()  # now; what it costs; in the code
    check: tuple[str, ...] = ()  # commands to verify it by hand

    def __post_init__(self) -> None:
        """Refuse a claim without evidence."""
        if not self.evidence:
            raise ValueError(f"{self.code} without evidence")


class Fired(Fact, frozen=True, kw_only=True):
    """A rule found its cause."""

    code: str
    findings: tuple[Finding, ...]


class Clear(Fact, frozen=True, kw_only=True):
    """A rule saw all it needs, and it is fine."""

    code: str


class Blind(Fact, frozen=True, kw_only=True):
    """A rule found nothing, but something it needs was hidden."""

    code: str
    gaps: tuple[Gap, ...]


Verdict: TypeAlias = Fired | Clear | Blind

__all__ = [
    "Actor", "Blind", "Clear", "Confidence", "Finding", "Fired", "Hold", "Library", "Link",
    "Severity", "Verdict",
]  # fmt: skip
