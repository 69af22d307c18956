"""Event loops and other threads that watch many descriptors at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.graph import How

if TYPE_CHECKING:
    from diag.model.graph import Wait
    from diag.model.io import OpenFile
    from diag.waits.scene import Scene

_CALLS = {
    "epoll_wait": "epoll", "epoll_pwait": "epoll", "epoll_pwait2": "epoll", "poll": "poll", "ppoll": "poll",
    "select": "select", "pselect6": "select", "io_uring_enter": "io_uring", "io_getevents": "aio",
}  # fmt: skip
_MOST = 3  # listening addresses named in words


def link(scene: Scene) -> Wait | None:
    """Say what an event loop watches."""
    kind = _CALLS.get(scene.call)
    if kind is None or scene.asked is None:
        return None
    pid = scene.process.pid
    if kind == "epoll":
        watched = scene.file.watched if scene.file else ()
        key = f"{pid}:{scene.asked.fds[0] if scene.asked.fds else '?'}"
    else:
        watched, key = scene.asked.fds, f"{pid}/{scene.thread.tid}"
    files = [file for fd in watched if (file := scene.around.files.get((pid, fd)))]
    count = f" on {len(watched)} descriptors" if len(watched) != 1 else " on 1 descriptor"
    listens = _listens(scene, files)
    words = scene.phrase(f"idle: {kind}{count}{f' (listens on {listens})' if listens else ''}")
    return scene.wait(kind, key, words, How.IDLE, name="an event", address=listens or None)


def _listens(scene: Scene, files: list[OpenFile]) -> str:
    sockets = [scene.around.sockets.get(file.inode) for file in files if file.kind == "socket"]
    local = sorted({socket.local for socket in sockets if socket and socket.state == "listen"})
    return f"{', '.join(local[:_MOST])}{' …' if len(local) > _MOST else ''}"
