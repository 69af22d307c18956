"""Threads that wait for a peer: to receive, to send, to connect, or for a client to accept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.model.graph import How
from diag.waits.other_end import of_socket
from diag.waits.scene import how_long

if TYPE_CHECKING:
    from diag.model.graph import Wait
    from diag.waits.scene import Scene


def link(scene: Scene) -> Wait | None:
    """Say which peer is waited for. A poll of one socket is how Python waits with a time limit."""
    asked, file = scene.asked, scene.file
    if asked is None or file is None or file.kind != "socket" or len(asked.fds) != 1:
        return None
    socket = scene.around.sockets.get(file.inode)
    if scene.call.startswith("accept") or (socket and socket.state == "listen"):
        local = (socket and socket.local) or file.target
        words = scene.phrase(f"idle: accepts on {local}")
        return scene.wait(
            "socket", str(file.inode), words, How.IDLE, name=f"a client on {local}", address=local
        )
    end = of_socket(scene, file, socket)
    verb = _verb(scene, connecting=bool(socket and socket.state == "syn-sent"))
    wait = scene.wait(
        "socket",
        end.key,
        scene.phrase(f"{verb} {end.name}{end.who}"),
        how_long(asked),
        name=end.name,
        path=end.path,
        address=end.address,
        mode="connect" if socket and socket.queued else "write" if asked.writes else "read",
        held_by=end.holders,
        certain=end.sure,
    )
    return replace(wait, serves=True) if socket and socket.serves else wait


def _verb(scene: Scene, *, connecting: bool) -> str:
    if scene.call == "connect" or connecting:
        return "connects to"
    if scene.asked and scene.asked.writes:
        return "send to"
    return "recv from"
