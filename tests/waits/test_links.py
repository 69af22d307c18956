"""Each kind of wait, linked from facts alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from diag.model.facts import Frame, Process, Stack, Syscall, Thread
from diag.model.graph import How, Wait
from diag.model.io import Asked, End, OpenFile, Socket
from diag.waits import link
from diag.waits.scene import Around, Scene, asked_at, asked_through, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

APP = Frame(function="work", file="/srv/app.py", line=12)
QUEUE = Frame(function="Queue.get", file="/usr/lib/python3.12/queue.py", line=171)
WAIT = Frame(function="Condition.wait", file="/usr/lib/python3.12/threading.py", line=355)


def process(pid: int = 10, **fields: Any) -> Process:
    return Process(
        **{"pid": pid, "ppid": 1, "started": 5, "since": 0.0, "name": "app", "state": "S", **fields}
    )


def scene(
    call: str = "",
    *arguments: int,
    frames: tuple[Frame, ...] = (APP,),
    state: str = "S",
    wchan: str | None = "w",
    asked: Mapping[str, Any] | None = None,
    files: tuple[OpenFile, ...] = (),
    sockets: tuple[Socket, ...] = (),
    ends: Mapping[tuple[int, int], tuple[End, ...]] | None = None,
    others: tuple[Process, ...] = (),
    hidden: int = 0,
    own: Process | None = None,
    owner: Stack | None = None,
    gil: bool = False,
    mine: Mapping[str, Any] | None = None,
) -> Scene:
    own = own or process()
    thread = Thread(
        pid=own.pid,
        tid=11,
        name="t",
        state=state,
        syscall=Syscall(number=1, name=call, arguments=(*arguments, 0, 0, 0, 0, 0, 0)[:6]) if call else None,
        wchan=wchan,
    )
    stack = Stack(pid=own.pid, tid=11, thread="worker", frames=frames, **(mine or {}))
    stacks = {(own.pid, 11): stack} if frames else {}
    if owner:
        stacks[owner.pid, owner.tid or 0] = owner
    around = Around(
        processes={one.pid: one for one in (own, *others)},
        stacks=stacks,
        files={(file.pid, file.fd): file for file in files},
        sockets={socket.inode: socket for socket in sockets},
        ends=ends or {},
        hidden=hidden,
        gil_waiters=frozenset({(own.pid, 11)} if gil else ()),
        file_locks={},
        file_systems={},
    )
    about = Asked(pid=own.pid, tid=11, **(asked or {})) if call else None
    return Scene(own, thread, stack if frames else None, about, around)


def words(made: Wait) -> str:
    return made.words


def test_sleep() -> None:
    found = link(scene("clock_nanosleep", asked={"left": 42.04}))
    assert (words(found), found.how) == ("sleeps, 42 s left, app.py:12 in work", How.TIMED)
    assert words(link(scene("nanosleep", asked={"limit": 0.05}))) == "sleeps for 0.05 s, app.py:12 in work"
    assert words(link(scene("pselect6", asked={"limit": 600.0}))) == "sleeps for 10 min, app.py:12 in work"
    assert words(link(scene("pause"))) == "waits for a signal, app.py:12 in work"


def test_lock_says_what_the_python_frames_say() -> None:
    found = link(scene("futex", 0x7F10, 0x189, frames=(WAIT, QUEUE, APP)))
    assert words(found) == "waits for a lock in queue.Queue.get (queue.py:171), app.py:12 in work"
    assert (found.resource.kind, found.resource.key, found.how) == ("futex", "futex:10:7f10", How.BLOCKED)
    timed = link(scene("futex", 0x7F10, 0x89, 0, 0x7FFE, asked={"left": 3.0}))
    assert (words(timed), timed.how) == (
        "waits for a lock for 3 s more at most, app.py:12 in work",
        How.TIMED,
    )
    shared = link(scene("futex", 0x7F10, 0x109))
    assert words(shared) == "waits for a lock or semaphore that processes share, app.py:12 in work"
    assert shared.resource.key == "futex:shared:7f10"


GIL_OWNER = Stack(pid=10, tid=12, thread="busy", frames=(APP,), owns_gil=True)


def test_gil() -> None:
    found = link(scene("futex", 0x7F10, 0x89, owner=GIL_OWNER, gil=True))
    assert words(found) == "waits for the GIL held by thread busy (12), app.py:12 in work"
    assert found.holds[0].holder.tid == 12
    free = link(scene("futex", 0x7F10, 0x89, gil=True))
    assert words(free).startswith("waits for the GIL, which was free a moment later")
    got_it = link(scene("futex", 0x7F10, 0x89, gil=True, mine={"owns_gil": True}))
    assert got_it.how is How.RUNNING
    lock = link(scene("futex", 0x7F10, 0x89, owner=GIL_OWNER))
    assert words(lock).startswith("waits for a lock")


def test_running() -> None:
    runs = link(scene(state="R", wchan=None, mine={"owns_gil": True, "active": True}))
    assert (words(runs), runs.how) == ("runs Python: work (app.py:12)", How.RUNNING)
    native = link(scene(state="R", wchan=None, mine={"active": True}))
    assert words(native) == "runs native code called by work (app.py:12)"
    asks = link(scene(state="R", wchan=None, owner=GIL_OWNER))
    assert asks.resource.kind == "gil"
    assert words(link(scene(state="R", wchan=None, frames=()))) == "runs"


SOCKET = OpenFile(pid=10, fd=3, target="socket:[7]", device=9, inode=7)
TCP = Socket(inode=7, family="tcp", state="established", local="10.0.0.1:4", remote="10.0.0.5:3306")


def test_sockets() -> None:
    found = link(scene("recvfrom", 3, asked={"fds": (3,)}, files=(SOCKET,), sockets=(TCP,)))
    assert words(found) == "recv from 10.0.0.5:3306 (MySQL), app.py:12 in work"
    assert (found.resource.address, found.fd, found.how) == ("10.0.0.5:3306", 3, How.BLOCKED)
    poll = link(scene("poll", 0, 1, asked={"fds": (3,), "limit": 5.0}, files=(SOCKET,), sockets=(TCP,)))
    assert words(poll) == "recv from 10.0.0.5:3306 (MySQL) for at most 5 s, app.py:12 in work"
    send = link(scene("sendto", 3, asked={"fds": (3,), "writes": True}, files=(SOCKET,), sockets=(TCP,)))
    assert words(send).startswith("send to 10.0.0.5:3306")
    connecting = Socket(inode=7, family="tcp", state="syn-sent", local="10.0.0.1:4", remote="10.0.0.5:99")
    dial = link(
        scene("poll", 0, 1, asked={"fds": (3,), "writes": True}, files=(SOCKET,), sockets=(connecting,))
    )
    assert words(dial).startswith("connects to 10.0.0.5:99")
    listening = Socket(inode=7, family="tcp", state="listen", local="0.0.0.0:80")
    idle = link(scene("accept4", 3, asked={"fds": (3,)}, files=(SOCKET,), sockets=(listening,)))
    assert (words(idle), idle.how) == ("idle: accepts on 0.0.0.0:80, app.py:12 in work", How.IDLE)
    unseen = link(scene("recvfrom", 3, asked={"fds": (3,)}, files=(SOCKET,)))
    assert words(unseen) == "recv from socket:[7], app.py:12 in work"


def test_the_other_end_of_a_socket() -> None:
    local = Socket(inode=7, family="unix", state="established", peer=8)
    peer = Socket(inode=8, family="unix", state="established", local="/run/db.sock")
    ends = {(9, 8): (End(pid=20, fd=4, device=9, inode=8),)}
    found = link(
        scene(
            "recvfrom", 3, asked={"fds": (3,)}, files=(SOCKET,), sockets=(local, peer), ends=ends,
            others=(process(20, name="mariadbd"),),
        )
    )  # fmt: skip
    assert words(found) == (
        "recv from UNIX socket /run/db.sock, other end: pid 20 (mariadbd), app.py:12 in work"
    )
    assert [hold.holder.pid for hold in found.holds] == [20]


PIPE = OpenFile(pid=10, fd=5, target="pipe:[30]", device=15, inode=30)


@pytest.mark.parametrize(
    ("ends", "hidden", "said"),
    [
        ((End(pid=10, fd=6, device=15, inode=30, reads=False),), 0, "only this process itself"),
        ((), 0, "nobody that diag may see"),
        ((), 3, "nobody that diag may see"),
        (
            (End(pid=20, fd=6, device=15, inode=30, writes=False),),
            0,
            "nobody that diag may see",
        ),  # it reads, too
        ((End(pid=20, fd=6, device=15, inode=30, reads=False),), 0, "pid 20 (feeder)"),
    ],
)
def test_pipes(ends: tuple[End, ...], hidden: int, said: str) -> None:
    found = link(
        scene(
            "read", 5, asked={"fds": (5,)}, files=(PIPE,), ends={(15, 30): ends}, hidden=hidden,
            others=(process(20, name="feeder"),),
        )
    )  # fmt: skip
    assert words(found) == f"waits to read from pipe [30], other end: {said}, app.py:12 in work"


def test_fifo_that_nobody_opens() -> None:
    fifo = OpenFile(pid=10, fd=-11, target="/run/x", device=1, inode=2)
    asked = {"fds": (-11,), "path": "/run/x"}
    found = link(scene("openat", asked=asked, wchan="wait_for_partner", files=(fifo,), ends={(1, 2): ()}))
    assert words(found) == "waits until somebody opens FIFO /run/x for writing, app.py:12 in work"


def test_children() -> None:
    child, ended = process(20, ppid=10, name="sh"), process(21, ppid=10, name="cc", state="Z")
    one = link(scene("wait4", 20, asked={"child": 20}, others=(child, ended)))
    assert words(one) == "waits for its child 20 (sh) to end, app.py:12 in work"
    assert one.resource.key == "child:20"
    any_of = link(scene("wait4", asked={"child": -1}, others=(child, ended)))
    assert words(any_of) == (
        "waits for any of its 2 children to end: 20 (sh), 21 (cc, has ended), app.py:12 in work"
    )
    assert any_of.holds == ()  # any of them would do: none stands in the way
    inside = process(30, ppid=10, container_pid=2, name="in")
    assert "child 30 (in)" in words(link(scene("wait4", asked={"child": 2}, others=(inside,))))


def test_held_up() -> None:
    assert words(link(scene(state="T"))).startswith("stopped by a signal")
    gdb = process(99, name="gdb")
    traced = link(scene(state="t", own=process(tracer=99), others=(gdb,)))
    assert words(traced) == "stopped by its tracer, pid 99 (gdb), app.py:12 in work"
    assert words(link(scene("nanosleep", own=process(tracer=99)))).startswith("sleeps")  # traced, but runs
    frozen = link(scene("futex", own=process(frozen=True, cgroup="0::/box")))
    assert words(frozen) == "frozen with its cgroup, app.py:12 in work"
    init = process(1, name="init")
    zombie = link(scene(state="Z", wchan=None, frames=(), own=process(state="Z", pid=11), others=(init,)))
    assert words(zombie) == "has ended; its parent, pid 1 (init), has not collected it"
    assert (
        words(link(scene(state="Z", wchan=None, frames=())))
        == "has ended; other threads of its process go on"
    )


def test_disk_and_kernel() -> None:
    file = OpenFile(pid=10, fd=3, target="/mnt/x")
    disk = link(scene("read", 3, state="D", wchan="folio_wait", asked={"fds": (3,)}, files=(file,)))
    assert words(disk) == (
        "waits for something in the kernel in read of /mnt/x, uninterruptibly (folio_wait), app.py:12 in work"
    )
    worker = process(kernel=True, name="kworker/0:1")
    kernel = link(scene(own=worker, frames=(), wchan="worker_thread"))
    assert words(kernel) == "kernel thread, runs deferred kernel work (workqueue): sleeps in worker_thread"
    assert kernel.how is How.IDLE


def test_what_is_unknown_or_hidden_is_said_so() -> None:
    assert words(link(scene("semop", 3))) == "waits in semop (w), app.py:12 in work"
    hidden = link(scene(wchan=None, frames=()))
    assert "diag may not see" in words(hidden)
    assert not hidden.certain


def test_events() -> None:
    loop = OpenFile(pid=10, fd=4, target="anon_inode:[eventpoll]", watched=(3, 9))
    listening = Socket(inode=7, family="tcp", state="listen", local="0.0.0.0:80")
    found = link(scene("epoll_wait", 4, asked={"fds": (4,)}, files=(loop, SOCKET), sockets=(listening,)))
    assert words(found) == "idle: epoll on 2 descriptors (listens on 0.0.0.0:80), app.py:12 in work"
    assert found.how is How.IDLE


def test_flock_without_the_lock_tables() -> None:
    file = OpenFile(pid=10, fd=3, target="/run/x.lock")
    found = link(scene("flock", 3, 2, asked={"fds": (3,)}, files=(file,)))
    assert words(found) == "waits for flock on /run/x.lock, app.py:12 in work"


def test_the_users_own_line() -> None:
    native = Frame(function="read", file="libc.so.6", line=0, native=True)
    stack = Stack(pid=1, tid=1, thread=None, frames=(native, WAIT, QUEUE, APP))
    assert str(asked_at(stack)) == "app.py:12 in work"
    assert asked_through(stack) == " in queue.Queue.get (queue.py:171)"
    assert asked_at(None) is None
    begin = Frame(function="Thread.run", file="/usr/lib/python3.12/threading.py", line=1010)
    pool = Stack(pid=1, tid=1, thread=None, frames=(native, WAIT, QUEUE, begin))
    assert str(asked_at(pool)) == "queue.py:171 in Queue.get"
    assert (
        str(asked_at(Stack(pid=1, tid=1, thread=None, frames=(begin,)))) == "threading.py:1010 in Thread.run"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.05, "0.05 s"), (42.04, "42 s"), (600, "10 min"), (7200, "2 h"), (864000, "10 days")],
)
def test_durations(value: float, text: str) -> None:
    assert seconds(value) == text
