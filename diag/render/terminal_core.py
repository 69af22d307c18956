"""The core section of the terminal report: why it was written, the threads, what of its files has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from diag.model import signals
from diag.render import terminal_stacks
from diag.render.escape import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from diag.model.core import CoreFault, CoreImage
    from diag.model.snapshot import Snapshot
    from diag.model.worker_log import WorkerLog

MOST_CHANGED = 8
"""Files named that are not what they were (all of them with -v)."""
_CHANGED = {"replaced": "replaced on disk since", "missing": "not on disk any more"}


def section(snapshot: Snapshot, now: float, *, verbose: bool) -> Iterator[RenderableType]:
    """Yield what to show of the core; ``now`` is the time of the look, in seconds since the epoch."""
    core = snapshot.core
    assert core is not None
    yield from _signal(core)
    if snapshot.fault:
        yield from _instruction(snapshot.fault)
    yield from _files(core, verbose=verbose)
    for log in snapshot.worker_logs:
        yield from _log(log)
    yield Text("")
    yield from terminal_stacks.section(snapshot, now, verbose=verbose)


def _signal(core: CoreImage) -> Iterator[Text]:
    signal = core.signal
    text = Text(plain(signals.cause(signal, core.pid)), style="bold")
    if signal.address is not None:
        text.append(f", address {signal.address:#x}")
    if not signals.is_snapshot(signal) and signal.number != signals.UNKNOWN:
        text.append(f" ({signals.code_name(signal)})", style="dim")
    yield text


def _instruction(fault: CoreFault) -> Iterator[Text]:
    if not fault.seen:
        yield Text("instruction not known: the registers could not be read")
        return
    place = plain(fault.library or "no file")
    at = f" at {fault.offset:#x}" if fault.offset is not None else ""
    yield Text(f"instruction {fault.pc:#x} ({place}{at}): {plain(fault.instruction) or 'no code is there'}")
    if fault.words:
        yield Text(f"  {plain('; '.join(fault.words))}", style="dim")


def _log(log: WorkerLog) -> Iterator[Text]:
    name = f"worker {plain(log.worker)}" if log.worker else "the process"
    yield Text(f"{name} in {plain(log.file)}:", style="bold")
    for what, line in (("began", log.began), *(("", line) for line in log.last), ("died", log.death)):
        if line:
            yield Text(f"  {what:6}{line.at.line}: {plain(line.text)}", style="" if what else "dim")


def _files(core: CoreImage, *, verbose: bool) -> Iterator[Text]:
    changed = [one for one in core.modules if one.now in _CHANGED and _is_file(one.path)]
    shown = changed if verbose else changed[:MOST_CHANGED]
    for one in shown:
        yield Text(f"{plain(one.path)}: {_CHANGED[one.now]}", style="yellow")
    if len(changed) > len(shown):
        yield Text(f"and {len(changed) - len(shown)} more (-v)", style="dim")


def _is_file(path: str) -> bool:
    """Whether a mapping was of a file: shared memory without one has names like these (proc(5))."""
    return path.startswith("/") and not path.startswith(
        ("/dev/zero", "/SYSV", "/memfd:", "/[aio]", "/anon_hugepage")
    )
