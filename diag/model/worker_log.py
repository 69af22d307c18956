"""What a service's own log tells of one worker process."""

from __future__ import annotations

from diag.model.crash import LogLine
from diag.model.facts import Fact


class WorkerLine(Fact, frozen=True, kw_only=True):
    """One line of the log that is about the worker."""

    at: LogLine
    text: str


class WorkerLog(Fact, frozen=True, kw_only=True):
    """One log, searched for one process."""

    file: str
    worker: str | None = None  # its number or name: "1", "ForkPoolWorker-3"
    began: WorkerLine | None = None  # the line that tells of its start
    last: tuple[WorkerLine, ...] = ()  # its last lines before it died: requests, tasks
    death: WorkerLine | None = None  # what its parent said of its end
    words: tuple[WorkerLine, ...] = ()  # what it said itself as it died, right before
    count: int = 0  # lines about it in all
