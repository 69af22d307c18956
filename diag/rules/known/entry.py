"""What an entry of the knowledge base is, and when it holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from diag.model import fault
from diag.rules import crash_victims

if TYPE_CHECKING:
    from diag.model.crash import CrashEvent, CrashGroup

_WORKERS = frozenset(
    {"apache", "billiard-exit", "billiard-lost", "gunicorn", "torch-dataloader", "uwsgi-died", "uwsgi-segv"}
)
"""Forms of lines that a parent writes about its worker."""

_FORKED = re.compile(
    r"(?:Fork)?(?:Pool)?Worker-\d|ForkProcess-\d|DataLoader worker|Worker \(pid:|\bworker \d+ \(pid"
)


class Known(NamedTuple):
    """One known cause. Patterns are regular expressions; None matches everything."""

    name: str
    cause: str  # in a few words, without a full stop
    fix: str
    reference: str  # "owner/repository#issue"
    library: str | None = None  # from the beginning of the file's name
    function: str | None = None  # the whole name; where no function is known, the entry does not hold
    said: str | None = None  # somewhere in a line that a service wrote
    program: str | None = None  # from the beginning of the thread's name
    signals: frozenset[int] = frozenset()  # empty: any
    thread: str | None = None  # "other": not the main thread; a crash whose thread is unknown may be
    forked: bool = False  # only in processes that a pool or server forked

    def fits(self, group: CrashGroup) -> bool:
        """Whether nothing that is known of these crashes contradicts the entry."""
        return (
            self._place(group)
            and (self.program is None or bool(re.match(self.program, group.program or "")))
            and (not self.signals or fault.signal(group.sample) in self.signals)
            and (self.thread is None or self._threads(group))
            and (not self.forked or forked(group))
        )

    def _place(self, group: CrashGroup) -> bool:
        """Whether it crashed there, or said so: an entry names at least one of them."""
        if self.said is not None and any(re.search(self.said, line.text) for line in _lines(group)):
            return True
        if self.library is None and self.function is None:
            return False
        if self.library is not None and not re.match(self.library, group.library or ""):
            return False
        names = crash_victims.names(group)
        return self.function is None or any(re.fullmatch(self.function, name) for name in names)

    def _threads(self, group: CrashGroup) -> bool:
        told = {fault.thread(event) for event in group.events} - {None}
        return not told or self.thread in told


def forked(group: CrashGroup) -> bool:
    """Whether a service's line shows that the dead process was a worker forked from a parent."""
    return any(line.form in _WORKERS or _FORKED.search(line.text) for line in _lines(group))


def _lines(group: CrashGroup) -> tuple[CrashEvent, ...]:
    return (*group.events, *group.reports)
