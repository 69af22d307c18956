"""Which thread of a process has a SQLite transaction open that another thread of it waits for.

The kernel knows only that the process has the lock (POSIX locks belong to processes). But connections are
objects, and whoever works with one mostly has it in a variable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.rules import database_clients
from diag.waits import lock_sites

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Stack
    from diag.model.graph import Hold, Wait


def narrowed(inquiry: Inquiry, hold: Hold, waits: Iterable[Wait]) -> Hold:
    """Give a hold of SQLite's its thread, where one can be told; sure that never is.

    ``waits``: the threads that poll for such locks. One of them may stand in its own way if it has a
    second connection in hand; else whoever has the lock does not wait.
    """
    if hold.resource.part is None or hold.taken_at is not None or hold.holder.tid is not None:
        return hold
    pid = hold.holder.pid
    stacks = inquiry.stacks(pid) if inquiry.has_stacks(pid) else ()
    waiting = {wait.waiter.tid for wait in waits if wait.waiter.pid == pid and wait.resource.part}
    if len(stacks) < 2:
        return hold
    if any(len(_connections(stack)) > 1 for stack in stacks if stack.tid in waiting):
        return replace(hold, certain=False)
    having = [stack for stack in stacks if stack.tid not in waiting and _connections(stack)]
    if len(having) != 1 or having[0].tid is None:
        return replace(hold, certain=hold.certain and not waiting)
    doing = lock_sites.doing(having[0], inquiry.sources(having[0]))
    holder = inquiry.actor(pid, having[0].tid, doing.where if doing else None)
    return replace(hold, holder=holder, certain=False)


def _connections(stack: Stack) -> set[int]:
    """The addresses of sqlite3's connections among the variables of a thread."""
    return {
        local.address
        for frame in stack.frames
        for local in frame.locals
        if (kind := local.type_name)
        and database_clients.handle_kind(kind) == "connection"
        and ((client := database_clients.client_of_type(kind)) is None or client.name == "sqlite3")
    }
