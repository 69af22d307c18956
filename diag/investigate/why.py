"""``diag why``: from pids along everything they wait for to the cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors import process as processes
from diag.investigate import replaced_files
from diag.investigate.databases import NOBODY, Access, Databases
from diag.investigate.explore import explore
from diag.investigate.inquiry import Inquiry
from diag.investigate.stacks import roots_of
from diag.investigate.wait_chains import CHAIN_RULES, chains_from
from diag.model.facts import Gap
from diag.rules import chains

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from diag.host import Host
    from diag.model.snapshot import Chain, Snapshot

MOST_DESCENDANTS = 100
"""Children, and theirs, of the processes asked about that are looked at as well."""
_MESSAGES = chains.MESSAGES | {"child"}


def look(
    host: Host,
    pids: Sequence[int],
    *,
    pause: bool,
    access: Access = NOBODY,
    say: Callable[[str], None] = lambda _: None,
) -> Snapshot:
    """Follow the waits of the processes ``pids``; ``say`` is told what is being done.

    Their descendants are looked at as well: a master of workers is fine itself when they are all stuck.
    Raises ``DiagError`` when none of them can be looked at.
    """
    roots, gaps = roots_of(host, pids)
    inquiry = Inquiry(host, pause=pause)
    inquiry.databases = Databases(inquiry, access)
    below, left = _descendants(host, roots)
    snapshot = explore(inquiry, (*roots, *below), say)
    asked = tuple(process for pid in roots if (process := snapshot.process(pid)))
    return replace(
        snapshot,
        replaced_files=replaced_files.look(host, asked),
        gaps=(*gaps, *snapshot.gaps, *([_left_out(left)] if left else ())),
        roots=roots,
        chains=(*chains_from(snapshot, roots), *_of_descendants(snapshot, below)),
    )


def _descendants(host: Host, roots: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The children of the processes asked about, theirs, and so on; and those too many to look at."""
    # Below a shell that was asked about there may be diag itself, with what it runs.
    own = processes.family(host, host.info.pid)
    found = [pid for pid in processes.family(host, *roots) if pid not in roots and pid not in own]
    return tuple(found[:MOST_DESCENDANTS]), tuple(found[MOST_DESCENDANTS:])


def _of_descendants(snapshot: Snapshot, below: Sequence[int]) -> Iterator[Chain]:
    """Leave out who merely waits for a message: that is how a healthy worker waits for work."""
    dead = chains.Graph(snapshot).dead
    for chain in chains_from(snapshot, below):
        first = chain.waits[0]
        tid = first.waiter.task_id or first.waiter.tid or first.waiter.pid
        if first.resource.kind not in _MESSAGES or (first.waiter.pid, tid) in dead:
            yield chain


def _left_out(pids: Sequence[int]) -> Gap:
    return Gap(
        source="/proc/PID/stat",
        hides=f"what {len(pids)} more descendants of the processes wait for (pid {pids[0]} and others)",
        reason=f"more than {MOST_DESCENDANTS} are not looked at",
        hint=f"ask about one that you suspect, or about the whole host: diag why {pids[0]}; diag scan",
        blinds=CHAIN_RULES,
    )
