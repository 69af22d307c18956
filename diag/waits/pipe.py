"""Threads that wait to read from or write to a pipe or FIFO, or for a partner who opens one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.waits.other_end import of_pipe
from diag.waits.scene import how_long

if TYPE_CHECKING:
    from diag.model.facts import Frame
    from diag.model.graph import Wait
    from diag.waits.scene import Scene

OPENS_FIFO = ("wait_for_partner", "fifo_open")  # wchan, fs/pipe.c (the second before 4.x)


def link(scene: Scene) -> Wait | None:
    """Say which pipe, and who has its other end."""
    asked, file = scene.asked, scene.file
    if asked is None or file is None:
        return None
    if len(asked.fds) > 1:
        return _output(scene)
    opens = bool(asked.path) and scene.thread.wchan in OPENS_FIFO
    fifo = file.kind == "file" and "pipe" in (scene.thread.wchan or "")
    if not (opens or file.kind == "pipe" or fifo) or not _moves_data(scene, opens):
        return None
    end = of_pipe(scene, file, writes=asked.writes)
    if opens:
        alone = f"waits until somebody opens {end.name} for {'reading' if asked.writes else 'writing'}"
        words = scene.phrase(f"opens {end.name}{end.who}" if end.holders else alone)
    else:
        verb = f"waits to {'write to' if asked.writes else 'read from'}"
        words = scene.phrase(f"{verb} {end.name}{end.who}")
    return scene.wait(
        "pipe",
        end.key,
        words,
        how_long(asked),
        name=end.name,
        path=end.path,
        mode="write" if asked.writes else "read",
        held_by=end.holders,
        # Somebody has the other end of a pipe that is read: with nobody there, the read would have ended.
        certain=end.sure if end.holders else (opens or end.seen) and not scene.around.hidden,
    )


def _output(scene: Scene) -> Wait | None:
    """Say which pipe communicate() waits for, which polls all of a child: one that others can write to."""
    frames = scene.stack.frames if scene.stack else ()
    if scene.call not in ("poll", "ppoll") or not any(map(_communicates, frames)) or scene.asked is None:
        return None
    files = [scene.around.files.get((scene.process.pid, fd)) for fd in scene.asked.fds]
    for file in files:
        end = of_pipe(scene, file, writes=False) if file and file.kind == "pipe" else None
        if file and end and any(holder.pid != scene.process.pid for holder in end.holders):
            words = scene.phrase(f"waits to read from {end.name}{end.who}")
            wait = scene.wait(
                "pipe", end.key, words, how_long(scene.asked),
                name=end.name, mode="read", held_by=end.holders, certain=end.sure,
            )  # fmt: skip
            return replace(wait, fd=file.fd)
    return None


def _communicates(frame: Frame) -> bool:
    return frame.file.endswith("/subprocess.py") and frame.function.rpartition(".")[2] == "communicate"


def _moves_data(scene: Scene, opens: bool) -> bool:
    return opens or scene.call.startswith(("read", "write", "poll", "ppoll", "select", "pselect", "splice"))
