"""The report for a person: the verdict in one sentence, then chain, evidence and what to do."""

from __future__ import annotations

import io
from importlib import import_module
from typing import TYPE_CHECKING, cast

from rich.console import Console, Group
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from diag.model.finding import Library
from diag.model.graph import Actor
from diag.model.mangled import readable
from diag.render import doctor
from diag.render.escape import plain
from diag.render.words import person, place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import RenderableType

    from diag.host import Host
    from diag.model.facts import Gap
    from diag.model.finding import Finding
    from diag.model.report import Report

SECTIONS = {
    "locks": "diag.render.terminal_locks",
    "stacks": "diag.render.terminal_stacks",
    "why": "diag.render.terminal_why",
    "scan": "diag.render.terminal_scan",
    "db": "diag.render.terminal_databases",
    "core": "diag.render.terminal_core",
    "segfaults": "diag.render.terminal_crashes",
}
"""View -> module whose ``section`` shows the command's own facts."""

_COLORS = {"critical": "bold white on red", "warning": "bold black on yellow", "info": "bold white on blue"}
_CLEAR = {
    "locks": "Nothing is wrong with the locks.",
    "stacks": "Nothing found. What each thread does (diag why PID follows a wait to its cause):",
    "segfaults": "No crash found.",
    "core": "No crash of its own and no ring of waits found. This is what each thread did:",
}
"""What silence means: no more than what the command's rules have looked for."""
_FULL = 3
"""Findings shown whole; of more, the rest in a line each (all of them with -v)."""
_LISTED = 50
"""Findings shown in a line each; of more, their number."""
_EVIDENCE = 8
"""Raw lines shown of a finding (all of them with -v)."""


def render(report: Report, host: Host, *, width: int, color: bool, verbose: bool) -> str:
    """Return the report as text of at most ``width`` columns; without ``color``, no escape codes."""
    del host
    file = io.StringIO()
    console = Console(
        file=file,
        width=max(width, 40),
        force_terminal=color,
        no_color=not color,
        color_system="standard" if color else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    for part in parts(report, verbose=verbose):
        console.print(part)
    # Padding to the full width is of no use to anybody who copies or greps.
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def parts(report: Report, *, verbose: bool) -> Iterator[RenderableType]:
    """Yield the report piece by piece, escaped, in the order it is read."""
    if report.view == "doctor":  # no verdict on the host, but on diag's own eyes
        yield from doctor.parts(report)
        return
    findings = report.findings
    if not findings:
        yield _quiet(report)
    full = findings if verbose else findings[:_FULL]
    for finding in full:
        yield _finding(finding, verbose=verbose)
    listed = findings[len(full) :][:_LISTED]
    for finding in listed:
        yield _headline(finding)
    if more := len(findings) - len(full) - len(listed):
        yield Text(f"and {more} more findings", style="dim")
    if listed:
        yield Text("-v shows these in full", style="dim")
    facts = list(_facts(report, verbose=verbose))
    if facts:
        yield Rule(style="dim")
        yield from facts
    if report.snapshot.gaps:
        yield from _gaps(report.snapshot.gaps, verbose=verbose)


def _facts(report: Report, *, verbose: bool) -> Iterable[RenderableType]:
    module = import_module(SECTIONS[report.view])
    return cast("Iterable[RenderableType]", module.section(report.snapshot, report.taken_at, verbose=verbose))


def _quiet(report: Report) -> Text:
    if report.verdict == "blind":
        return Text("Cannot tell: something was hidden (see below).", style="bold yellow")
    return Text(_CLEAR.get(report.view, "Nothing is wrong here."), style="bold green")


def _headline(finding: Finding) -> Text:
    badge = f" {finding.code} "
    text = Text.assemble((badge, _COLORS[finding.severity.value]), " ", (plain(finding.summary), "bold"))
    return text.append(
        f"  [{finding.slug}, {finding.severity.value}, {finding.confidence.value}]", style="dim"
    )


def _finding(finding: Finding, *, verbose: bool) -> RenderableType:
    parts: list[RenderableType] = [_headline(finding), Text("")]
    if finding.chain:
        parts.append(_block("Chain", _chain(finding)))
    if finding.victims:
        parts.append(_block("Victims", [Text(_people(finding, verbose=verbose))]))
    parts.append(_block("Evidence", [_evidence(finding, verbose=verbose)]))
    for title, lines in (
        ("Against", finding.against),
        ("What to do", finding.remedy),
        ("Check by hand", finding.check),
    ):
        if lines:
            parts.append(_block(title, [_item(line) for line in lines]))
    parts.append(Text(f"diag explain {finding.code} says more.\n", style="dim"))
    return Group(*parts)


def _block(title: str, lines: Iterable[RenderableType]) -> RenderableType:
    return Group(Text(title, style="bold cyan"), Padding(Group(*lines), (0, 0, 0, 2)))


def _item(line: str) -> RenderableType:
    """One line of a list, its continuation lines indented."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(overflow="fold")
    grid.add_row("-", Text(plain(line)))
    return grid


def _leads_back(finding: Finding, held: Sequence[Actor]) -> bool:
    """Whether the last hop of a chain is the first one again: of a ring, its first thread is the cause."""
    first, culprit = finding.chain[0].waiter, finding.culprit
    is_cause = isinstance(culprit, Actor) and _name(culprit) == _name(first)
    return is_cause and (first.pid, first.task_id) in {(actor.pid, actor.task_id) for actor in held}


def _name(actor: Actor) -> tuple[int, int | None, int]:
    return actor.pid, actor.tid, actor.task_id


def _chain(finding: Finding) -> Iterator[RenderableType]:
    for depth, link in enumerate(finding.chain):
        where = f"  at {place(link.where)}" if link.where else ""
        yield Padding(Text(f"{person(link.waiter)}{where}"), (0, 0, 0, 2 * depth))
        held = [actor for actor in link.held_by if actor.pid or actor.address]
        names = ", ".join(person(actor) for actor in held[:3]) + (" …" if len(held) > 3 else "")
        text = Text(f"└─ waits for {plain(link.waits_for.name)}", style="yellow")
        if held:
            back = depth + 1 == len(finding.chain) and _leads_back(finding, held)
            text.append(f", held by {names}{'  <- the ring closes' if back else ''}", style="")
        yield Padding(text, (0, 0, 0, 2 * depth))


def _people(finding: Finding, *, verbose: bool) -> str:
    names = list(dict.fromkeys(person(victim) for victim in finding.victims))
    shown = names if verbose else names[:10]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _evidence(finding: Finding, *, verbose: bool) -> RenderableType:
    shown = finding.evidence if verbose else finding.evidence[:_EVIDENCE]
    parts: list[RenderableType] = []
    for item in shown:
        text = Text(plain(item.source), style="dim")
        parts.append(text.append(f"  {plain(item.text)}", style="not dim"))
    if len(finding.evidence) > len(shown):
        parts.append(Text(f"and {len(finding.evidence) - len(shown)} more lines (-v)", style="dim"))
    if isinstance(finding.culprit, Library):
        symbol = f", function {plain(readable(finding.culprit.symbol))}" if finding.culprit.symbol else ""
        parts.append(Text(f"library: {plain(finding.culprit.library)}{symbol}", style="dim"))
    return Group(*parts)


def _gaps(gaps: tuple[Gap, ...], *, verbose: bool) -> Iterator[RenderableType]:
    shown = gaps if verbose else gaps[:5]
    yield Text("Not seen", style="bold yellow")
    for gap in shown:
        yield Padding(
            Group(
                Text(f"{plain(gap.hides)}: {plain(gap.reason)} ({plain(gap.source)})"),
                Text(f"-> {plain(gap.hint)}", style="dim"),
            ),
            (0, 0, 0, 2),
        )
    if len(gaps) > len(shown):
        yield Text(f"  and {len(gaps) - len(shown)} more (-v)", style="dim")
