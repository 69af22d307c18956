"""One worker in the log of uWSGI, gunicorn or celery: since when, its last requests, its last words."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from diag.collectors.crash_lines import parse_line
from diag.model.crash import LogLine, Role
from diag.model.worker_log import WorkerLine, WorkerLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diag.host import Host

KEPT = 5
"""Lines kept of those before the death."""
NEAR = 120
"""Lines before the parent's word of a death in which a worker's own last words may stand."""
LONGEST = 400
"""Characters kept of a line."""

# core/uwsgi.c, gunicorn/arbiter.py, multiprocessing and billiard.
_BEGAN = re.compile(
    r"[Ss]pawned uWSGI (?:worker (?P<uwsgi>\d+)|master|mule)|Respawned uWSGI worker (?P<again>\d+)"
    r"|Booting worker with pid|(?:child process|Starting|started).* pid"
)
_DIED = re.compile(
    r"DAMN ! worker (?P<uwsgi>\d+) \(pid: |Worker(?: \(pid:| with pid| exiting)"
    r"|exited with '(?:signal|exitcode)"
    r"|(?P<celery>'[^']+') pid:\d+ exited|terminated due to signal|was sent SIG"
)
_CELERY = re.compile(r"Process '(?P<name>[^']+)' pid:(?P<pid>\d+) exited with")
_WORDS = (
    "Fatal Python error",
    "GC object already",
    "negative ref count",
    "refcount",
    "double free",
    "corrupt",
    "Segmentation Fault",
    "free(): ",
    "malloc(): ",
    "stack smashing",
)


def collect(host: Host, path: str, pid: int) -> WorkerLog:
    """Search one log for process ``pid``. Raises ``OSError``."""
    lines = list(_lines(host, path, [str(pid)]))
    found = parse(path, pid, lines)
    celery = next(
        (m["name"] for line in lines if (m := _CELERY.search(line.text)) and int(m["pid"]) == pid), None
    )
    if celery:  # its own lines have no pid, but the name of its process
        own = deque(_named(_lines(host, path, [f"/{celery}"]), celery, found.death), maxlen=KEPT)
        last = tuple(own) or found.last
        found = WorkerLog(
            file=path, worker=celery, began=found.began, last=last, death=found.death, count=found.count
        )
    if found.death is None:
        return found
    words = tuple(
        line
        for line in _lines(host, path, _WORDS)
        if 0 <= found.death.at.line - line.at.line <= NEAR and _is_word(line)
    )
    return WorkerLog(
        file=path,
        worker=found.worker,
        began=found.began,
        last=found.last,
        death=found.death,
        words=words[-KEPT:],
        count=found.count,
    )


def _named(lines: Iterable[WorkerLine], name: str, death: WorkerLine | None) -> Iterator[WorkerLine]:
    end = death.at.line if death else None
    for line in lines:
        if f"/{name}]" in line.text and (end is None or line.at.line < end):
            yield line


def _is_word(line: WorkerLine) -> bool:
    event = parse_line(line.text, line.at)
    return event is not None and event.role is Role.REPORT


def _lines(host: Host, path: str, needles: Sequence[str]) -> Iterator[WorkerLine]:
    for batch in host.search(path, needles, lambda _: 0):
        for hit in batch:
            text = hit.text.decode("utf-8", "replace").strip()[:LONGEST]
            yield WorkerLine(at=LogLine(file=path, line=hit.number), text=text)


def parse(path: str, pid: int, lines: Iterable[WorkerLine]) -> WorkerLog:
    """Sort the lines that name the number: only where it is a process's, not part of another number."""
    whole = re.compile(rf"(?:\bpid[:= ]*|\bprocess |\[|/)(?<!\d){pid}(?![\d.])|\(pid: {pid}\b|pid: {pid}\)")
    began = death = None
    worker = None
    last: deque[WorkerLine] = deque(maxlen=KEPT)
    count = 0
    for line in lines:
        if not whole.search(line.text):
            continue
        count += 1
        if start := _BEGAN.search(line.text):
            began, death = line, None  # the number may have been used before
            last.clear()
            worker = start["uwsgi"] or start["again"] or worker
        elif end := _DIED.search(line.text):
            death = line
            worker = end["uwsgi"] or (end["celery"] or "").strip("'") or worker
        elif death is None:
            last.append(line)
    return WorkerLog(file=path, worker=worker, began=began, last=tuple(last), death=death, count=count)
