"""T008: threads wait for each other, one of them for a module that another one is importing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Finding, Severity
from diag.rules import chains, phrases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Ring

CODE, SLUG = "T008", "import-deadlock"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """A ring within one process goes through an import lock."""
    for ring in chains.Graph(snapshot).rings():
        if "module-lock" in ring.kinds and ring.kinds <= chains.IN_PROCESS:
            yield _finding(ring)


def _finding(ring: Ring) -> Finding:
    importer = next(wait for wait in ring.waits if wait.resource.kind == "module-lock")
    holder = chains.active(importer)[0].holder
    waits = chains.starting_at(ring.waits, holder)
    first = waits[0]
    pid = first.waiter.pid
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{phrases.who(first.waiter)} imports a module and waits{phrases.at(first.where)} for "
            f"{chains.short(first.resource)}, while {phrases.thread(importer.waiter)} waits"
            f"{phrases.at(importer.where)} for {chains.short(importer.resource)}, which the first has"
        ),
        severity=Severity.CRITICAL,
        confidence=chains.confidence(waits),
        culprit=first.waiter,
        victims=(*(wait.waiter for wait in waits[1:]), *(wait.waiter for wait in ring.victims)),
        resource=importer.resource,
        chain=chains.links(waits),
        evidence=chains.evidence(waits),
        remedy=(
            f"kill -KILL {pid}: neither thread can go on; if it hangs at every start, start it without the "
            "plugin or module that the importing thread stands in",
            "in the code: do nothing at import time but define things; start threads and wait for them in a "
            "function that is called when all is imported",
        ),
        check=phrases.check_stack(pid),
    )
