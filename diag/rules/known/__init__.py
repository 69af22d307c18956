"""Known causes: crashes of C libraries in services, each with its cause, its fix and a public reference.

An entry is one element of a table in one of these files. It says where it may be met (library, function,
message, signal, thread) and holds only where the facts of a crash contradict none of that. It never turns
a crash into a claim by itself: rules take their words from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.rules.known import copies, forked, interpreter, machine, threads
from diag.rules.known.entry import Known

if TYPE_CHECKING:
    from diag.model.crash import CrashGroup

ENTRIES: tuple[Known, ...] = (
    *threads.ENTRIES,
    *forked.ENTRIES,
    *copies.ENTRIES,
    *interpreter.ENTRIES,
    *machine.ENTRIES,
)

__all__ = ["ENTRIES", "Known", "of", "references", "words"]


def of(group: CrashGroup) -> tuple[Known, ...]:
    """Return the known causes that a group of crashes may be of."""
    return tuple(entry for entry in ENTRIES if entry.fits(group))


def references(group: CrashGroup) -> tuple[str, ...]:
    """Name only the public reports, where a rule tells the cause in its own words."""
    found = ", ".join(one.reference for one in of(group))
    return (f"Known from: {found}.",) if found else ()


def words(group: CrashGroup) -> tuple[str, ...]:
    """Tell the known causes as advice: cause, fix and reference."""
    return tuple(f"Known: {one.cause}; {one.fix} (see {one.reference})." for one in of(group))
