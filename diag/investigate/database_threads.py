"""Which thread of a client has a connection: nobody reads from that of an idle session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.model.graph import How
from diag.waits.database import KIND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.collectors.pyobjects import PyObjects
    from diag.investigate.inquiry import Inquiry
    from diag.model.graph import Actor, Hold, SessionId
    from diag.model.snapshot import SeenThread

_SOCKETS = ("_sock", "_socket", "sock", "_usock", "connection", "conn", "_connection", "_cnx", "_cmysql")
"""Attributes that lead from a cursor or connection to its socket, in PyMySQL, Connector/Python and others."""
_DEPTH = 3
_MOST = 200  # variables of one thread that are followed
_C_SOCKET = 16  # _socket.socket: {HEAD 16, int sock_fd}, every CPython with 64-bit pointers
_C_MYSQL = 16 + 40  # {HEAD 16, MYSQL {NET {pvio, buff, buff_end, write_pos, read_pos, int fd}}}


def settle(inquiry: Inquiry, threads: Sequence[SeenThread]) -> list[SeenThread]:
    """Name the thread of each holder of a database lock, where it can be told."""
    by_process: dict[int, list[SeenThread]] = {}
    for seen in threads:
        by_process.setdefault(seen.process.pid, []).append(seen)
    known: dict[SessionId, tuple[Actor, bool]] = {}

    def settled(hold: Hold) -> Hold:
        if hold.session is None or hold.holder.tid is not None or not hold.holder.pid:
            return hold
        if hold.session not in known:
            known[hold.session] = _thread_of(inquiry, hold, by_process.get(hold.holder.pid, []))
        holder, certain = known[hold.session]
        return replace(hold, holder=holder, certain=hold.certain and certain)

    found = []
    for seen in threads:
        wait = seen.wait
        if wait is not None and wait.resource.kind == KIND:
            seen = replace(seen, wait=replace(wait, holds=tuple(map(settled, wait.holds))))  # noqa: PLW2901
        found.append(seen)
    return found


def _thread_of(inquiry: Inquiry, hold: Hold, group: Sequence[SeenThread]) -> tuple[Actor, bool]:
    """The thread of a holder and whether that is sure; the whole process where it cannot be told."""
    at_work = [seen for seen in group if seen.wait and seen.wait.session == hold.session]
    one = at_work[0] if at_work else (group[0] if len(group) == 1 else None)
    if one is not None and one.wait is not None:
        return one.wait.waiter, True
    having = _having(inquiry, hold, group)
    if len(having) == 1 and having[0].wait is not None:
        return having[0].wait.waiter, True
    # Those at work on another connection have not this one in hand; who waits for a thread to end has none.
    free = [
        seen
        for seen in group
        if seen.wait
        and seen.wait.session is None
        and not _is_idle(seen)
        and seen.wait.resource.kind != "thread"
    ]
    if len(free) == 1 and free[0].wait is not None:
        return free[0].wait.waiter, False
    return hold.holder, True


def _is_idle(seen: SeenThread) -> bool:
    return seen.wait is not None and seen.wait.how is How.IDLE


def _having(inquiry: Inquiry, hold: Hold, group: Sequence[SeenThread]) -> list[SeenThread]:
    """Threads with a variable on their stack that leads to the holder's descriptor."""
    objects = inquiry.objects(hold.holder.pid) if hold.fd is not None else None
    if objects is None or hold.fd is None:
        return []
    return [seen for seen in group if seen.stack and _leads(objects, seen, hold.fd)]


def _leads(objects: PyObjects, seen: SeenThread, fd: int) -> bool:
    addresses = {
        local.address
        for frame in (seen.stack.frames if seen.stack else ())
        for local in frame.locals
        if local.type_name and local.address
    }
    return any(_descriptor(objects, address, fd, _DEPTH) for address in sorted(addresses)[:_MOST])


def _descriptor(objects: PyObjects, address: int, fd: int, depth: int) -> bool:
    """Whether an object is, or leads by well-known attributes to, an open connection on ``fd``."""
    name = objects.type_name(address).lower()
    if "socket" in name and _is_number(objects, address + _C_SOCKET, fd):
        return True
    if ("conn" in name or "mysql" in name) and _is_number(objects, address + _C_MYSQL, fd):
        return True
    if not depth:
        return False
    return any(
        _descriptor(objects, found, fd, depth - 1)
        for attribute in _SOCKETS
        if (found := objects.attribute(address, attribute))
    )


def _is_number(objects: PyObjects, address: int, wanted: int) -> bool:
    data = objects.memory.read(address, 4)
    return bool(data) and int.from_bytes(data or b"", "little") == wanted
