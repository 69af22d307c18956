"""One kind of wait a file: facts -> this thread waits for that, and that is held by these.

A new kind of wait is one file here, with a pure ``link``, and one line in ``LINKS``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.waits import (
    child,
    eventfd,
    events,
    file_lock_words,
    file_system,
    fuse_server,
    futex,
    gil,
    held_up,
    kernel_thread,
    other,
    pipe,
    pool_thread,
    running,
    sleep,
    socket,
    sysv_semaphore,
    terminal,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from diag.model.graph import Wait
    from diag.waits.scene import Scene

LINKS: tuple[Callable[[Scene], Wait | None], ...] = (
    kernel_thread.link,
    held_up.link,
    running.link,
    child.link_vfork,
    file_system.link,
    file_lock_words.link,
    sleep.link,
    child.link,
    pool_thread.link,
    fuse_server.link,
    pipe.link,
    socket.link,
    eventfd.link,
    terminal.link,
    sysv_semaphore.link,
    events.link,
    gil.link,
    futex.link,
    other.link,
)
"""In order: the first link that knows a thread's wait names it."""


def link(scene: Scene) -> Wait:
    """Say what a thread waits for; ``other`` always has an answer."""
    return next(wait for one in LINKS if (wait := one(scene)) is not None)
