"""A finding about a process that only its core still shows: the same cause, told of a core. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.model import signals
from diag.model.facts import Evidence

if TYPE_CHECKING:
    from diag.model.core import CoreImage
    from diag.model.finding import Finding

_STACK = re.compile(r"py-spy dump --locals --pid \d+(?:, thread (\d+))?")
_PROC = re.compile(r"/proc/\d+/(?:task/(\d+)/)?(\w+)")
_LIVE_CHECK = re.compile(r"py-spy|gdb -p|/proc/\d|diag (?:stacks|why) ")
_AUXV, _STACK_SHOWS = "the same /proc/PID/auxv", "its main thread's stack shows the fork"
_ACTS = re.compile(r"kill -|gdb -p|(?:re)?start ")


def retold(finding: Finding, core: CoreImage) -> Finding:
    """Name what the evidence was read from, and advise nothing that needs the process to live."""
    now = [line for line in finding.remedy if not _ACTS.match(line)]
    if len(now) < len(finding.remedy) and signals.is_snapshot(core.signal):
        now.insert(0, f"now: if process {core.pid} still hangs so, end it (kill -KILL {core.pid}); "
                      "nothing inside it can end this wait")  # fmt: skip
    check = [line for line in finding.check if not _LIVE_CHECK.search(line)]
    return replace(
        finding,
        evidence=tuple(_evidence(item, core.path) for item in finding.evidence),
        remedy=tuple(now),
        check=(
            *check,
            f"pystack core {core.path} {core.executable} --locals --native-all".replace("  ", " "),
        ),
    )


def _evidence(item: Evidence, path: str) -> Evidence:
    source = item.source
    if found := _STACK.fullmatch(source):
        source = f"{path}{_thread(found[1])}: Python frames in memory"
    elif found := _PROC.fullmatch(source):
        part = {"mem": "memory", "syscall": "registers"}.get(found[2], found[2])
        source = f"{path}{_thread(found[1])}: {part}"
    return Evidence(source=source, text=item.text.replace(", wchan None", "").replace(_AUXV, _STACK_SHOWS))


def _thread(tid: str | None) -> str:
    return f", thread {tid}" if tid else ""
