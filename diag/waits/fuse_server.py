"""Threads of a FUSE server that wait for the next request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.fuse import DEVICE
from diag.model.graph import How
from diag.waits.scene import at

if TYPE_CHECKING:
    from diag.model.graph import Wait
    from diag.waits.scene import Scene


def link(scene: Scene) -> Wait | None:
    """Say that a thread serves a file system, and has nothing to do."""
    file = scene.file
    if file is None or file.target != DEVICE or not scene.call.startswith(("read", "splice")):
        return None
    words = f"idle: serves a FUSE file system{at(scene.stack)}"
    key = f"{scene.process.pid}:{file.fd}"
    return scene.wait("fuse-requests", key, words, How.IDLE, name="the next request")
