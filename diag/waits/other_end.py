"""What is at the other end of a pipe or socket, in words. Used by the links about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from diag.waits.scene import actor

if TYPE_CHECKING:
    from diag.model.graph import Actor
    from diag.model.io import End, OpenFile, Socket
    from diag.waits.scene import Scene

# The service that usually listens on a port; what a process really is, its name tells.
SERVICES = {
    22: "SSH", 25: "SMTP", 53: "DNS", 80: "HTTP", 111: "rpcbind", 389: "LDAP", 443: "HTTPS", 445: "SMB",
    514: "syslog", 587: "SMTP", 636: "LDAPS", 1433: "SQL Server", 1521: "Oracle", 1883: "MQTT",
    2049: "NFS", 2181: "ZooKeeper", 2379: "etcd", 3128: "HTTP proxy", 3306: "MySQL", 4222: "NATS",
    4444: "Selenium", 5432: "PostgreSQL", 5671: "AMQP", 5672: "AMQP", 6379: "Redis", 6432: "PgBouncer",
    8086: "InfluxDB", 8125: "StatsD", 8500: "Consul", 9042: "Cassandra", 9092: "Kafka", 9200: "Elasticsearch",
    11211: "memcached", 15672: "RabbitMQ management", 26379: "Redis Sentinel", 27017: "MongoDB",
    33060: "MySQL X",
}  # fmt: skip

_MOST = 3  # processes named in words


class OtherEnd(NamedTuple):
    """Who could make the wait end."""

    name: str  # "10.0.0.5:3306 (MySQL)", "pipe:[12]"
    key: str
    who: str  # ", other end: pid 12 (nginx)"; "" when that is on another host
    address: str | None = None
    path: str | None = None
    holders: tuple[Actor, ...] = ()
    seen: bool = True  # whether anybody has it at all, as far as diag can see
    sure: bool = True  # False: another thread of the waiter's own process could use it too


def service(address: str) -> str:
    """Add the service that usually listens there: ``10.0.0.5:3306 (MySQL)``."""
    port = address.rpartition(":")[2]
    known = SERVICES.get(int(port)) if port.isdigit() else None
    return f"{address} ({known})" if known else address


def of_socket(scene: Scene, file: OpenFile, socket: Socket | None) -> OtherEnd:
    """Describe the other end of a socket."""
    if socket is None:  # another namespace, or a family that /proc/net does not list
        return OtherEnd(name=file.target, key=str(file.inode), who="")
    peer = scene.around.sockets.get(socket.peer or 0)
    ends = scene.around.ends.get((file.device, socket.peer)) if socket.peer else None
    who, holders = _who(scene, ends, file)
    if socket.queued:
        who = f", which has not accepted the connection yet{who}"
    if (socket.queued or not holders) and any(end.pid == file.pid for end in ends or ()):
        holders = (*holders, actor(scene.process))  # it talks to itself, or could accept the connection
    sure = not _own_threads(scene, ends, file)
    if socket.family == "unix":
        path = (peer and peer.local) or socket.local
        name = f"UNIX socket {path}" if path else "UNIX socket"
        return OtherEnd(
            name=name,
            key=str(socket.inode),
            who=who,
            address=path or None,
            path=path or None,
            holders=holders,
            sure=sure,
        )
    if not socket.remote:
        name = f"{socket.family} socket {socket.local}".rstrip()
        return OtherEnd(name=name, key=str(socket.inode), who=who, address=socket.local or None)
    return OtherEnd(
        name=service(socket.remote),
        key=str(socket.inode),
        who=who,
        address=socket.remote,
        holders=holders,
        sure=sure,
    )


def of_pipe(scene: Scene, file: OpenFile, *, writes: bool) -> OtherEnd:
    """Describe who has the other end of a pipe or FIFO open."""
    ends = scene.around.ends.get((file.device, file.inode))
    if ends is not None:
        ends = tuple(end for end in ends if (end.reads if writes else end.writes))
    who, holders = _who(scene, ends, file)
    if not holders and ends and not scene.around.hidden:
        holders = (actor(scene.process),)  # it waits for itself
    fifo = file.kind == "file"
    name = f"FIFO {file.target}" if fifo else f"pipe {file.target.removeprefix('pipe:')}"
    path = file.target if fifo else None
    return OtherEnd(
        name=name,
        key=f"{file.device}:{file.inode}",
        who=who,
        path=path,
        holders=holders,
        seen=bool(ends),
        sure=not _own_threads(scene, ends, file),
    )


def of_eventfd(scene: Scene, file: OpenFile) -> OtherEnd:
    """Describe who else has an eventfd: whoever has it may add to it, and take from it."""
    ends = scene.around.ends.get((file.device, file.inode))
    who, holders = _who(scene, ends, file)
    return OtherEnd(
        name=f"eventfd {file.inode}" if file.inode else "an eventfd",
        key=f"{file.inode}" if file.inode else f"{file.pid}/{file.fd}",
        who=who,
        holders=holders,
        sure=not _own_threads(scene, ends, file),
    )


def of_terminal(scene: Scene, file: OpenFile) -> OtherEnd:
    """Describe who has the other side of a pseudo-terminal: whoever shows it, or what runs on it."""
    ends = scene.around.ends.get((file.device, file.inode))
    who, holders = _who(scene, ends, file)
    path = f"/dev/pts/{abs(file.inode) - 1}"
    return OtherEnd(
        name=f"terminal {path}" if file.inode > 0 else f"what runs on terminal {path}",
        key=f"{file.device}:{file.inode}",
        who=who,
        path=path,
        holders=holders,
        sure=not _own_threads(scene, ends, file),
    )


def _own_threads(scene: Scene, ends: tuple[End, ...] | None, own: OpenFile) -> bool:
    return scene.process.threads > 1 and any(end.pid == own.pid for end in ends or ())


def _who(scene: Scene, ends: tuple[End, ...] | None, own: OpenFile) -> tuple[str, tuple[Actor, ...]]:
    if ends is None:
        return "", ()  # on another host, or nobody looked
    others = sorted({end.pid for end in ends if end.pid != own.pid})
    if not others:
        # "Nobody" is never proven: a read of a pipe without writers would have ended. It may be a process
        # that diag may not see, diag itself, or a descriptor on its way from one process to another.
        if not any(end.pid == own.pid for end in ends):
            return ", other end: nobody that diag may see", ()
        alone = "this process itself, and nobody else that diag may see"
        return f", other end: {alone if scene.around.hidden else 'only this process itself'}", ()
    known = [scene.around.processes.get(pid) for pid in others]
    some = ", ".join(
        f"pid {pid} ({process.name})" if process else f"pid {pid}"
        for pid, process in zip(others[:_MOST], known, strict=False)
    )
    more = f" and {len(others) - _MOST} more" if len(others) > _MOST else ""
    return f", other end: {some}{more}", tuple(actor(process) for process in known if process)
