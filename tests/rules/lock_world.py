"""Small worlds of locks, holders and waiters, built from literals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from diag.investigate.lock_look import LOCK_RULES
from diag.model.facts import Evidence, Gap, Process, Syscall, Thread, Where
from diag.model.finding import Blind, Clear, Finding, Fired
from diag.model.graph import Actor, Hold, How, Resource, Wait
from diag.model.snapshot import Lock, SeenThread, Snapshot
from diag.rules import Rule, judge

if TYPE_CHECKING:
    from types import ModuleType

HIDDEN = Gap(
    source="/proc/PID/fd", hides="open files", reason="permission denied", hint="be root", blinds=LOCK_RULES
)
LINE = Where(function="work", file="/srv/app.py", line=12)


def actor(pid: int, tid: int | None = None) -> Actor:
    return Actor(pid=pid, started=pid, process="app", tid=tid)


def resource(name: str = "a", kind: str = "file-lock") -> Resource:
    return Resource(
        kind=kind,
        key=f"{kind}:{name}",
        name=f"flock on /run/{name}.lock" if kind == "file-lock" else f"{kind} {name}",
        path=f"/run/{name}.lock",
        device=1,
        inode=ord(name[0]),
        lock="flock" if kind == "file-lock" else None,
    )


def hold(pid: int, of: Resource | None = None, *, tid: int | None = None, **more: Any) -> Hold:
    text = f"1: FLOCK  ADVISORY  WRITE {pid} 00:01:97 0 EOF"
    return Hold(
        holder=actor(pid, tid),
        resource=of or resource(),
        fd=3,
        evidence=(Evidence(source="/proc/locks", text=text),),
        **more,
    )


def wait(
    pid: int,
    *holds: Hold,
    tid: int | None = None,
    of: Resource | None = None,
    how: How = How.BLOCKED,
    stuck: bool = True,
    **more: Any,
) -> Wait:
    wanted = of or (holds[0].resource if holds else resource())
    return Wait(
        waiter=actor(pid, tid or pid),
        resource=wanted,
        how=how,
        words=f"waits for {wanted.name}",
        where=LINE,
        holds=holds,
        stuck=stuck,
        evidence=(Evidence(source="/proc/locks", text=f"1: -> FLOCK  ADVISORY  WRITE {pid}"),),
        **more,
    )


def process(pid: int, state: str = "S", **more: Any) -> Process:
    return Process(pid=pid, ppid=1, started=pid, since=0.0, name="app", state=state, **more)


def seen(
    of: Process, waits: Wait | None = None, *, tid: int | None = None, moved: bool | None = False
) -> SeenThread:
    thread = Thread(
        pid=of.pid,
        tid=tid or of.pid,
        name="app",
        state=of.state,
        syscall=Syscall(number=230, name="clock_nanosleep", arguments=(0,)),
    )
    return SeenThread(process=of, thread=thread, wait=waits, samples=2, moved=moved)


def world(*waits: Wait, threads: tuple[SeenThread, ...] = (), **more: Any) -> Snapshot:
    """Everybody who appears, and the locks waited for; a holder sleeps unless ``threads`` say more."""
    pids = {one.waiter.pid for one in waits} | {held.holder.pid for one in waits for held in one.holds}
    known = {one.process.pid: one.process for one in threads}
    locks: dict[str, Lock] = {}
    for one in waits:
        if one.resource.kind == "file-lock":
            lock = locks.get(one.resource.key) or Lock(resource=one.resource, holders=one.holds)
            locks[one.resource.key] = Lock(
                resource=lock.resource, holders=lock.holders, waiters=(*lock.waiters, one)
            )
    return Snapshot(
        processes=tuple(known.get(pid) or process(pid) for pid in sorted(pids | set(known)) if pid),
        threads=threads,
        locks=more.pop("locks", tuple(locks.values())),
        waits=waits,
        **more,
    )


def findings(module: ModuleType, snapshot: Snapshot) -> tuple[Finding, ...]:
    verdict = judge(Rule(module.CODE, module.SLUG, module.check), snapshot)
    return verdict.findings if isinstance(verdict, Fired) else ()


def finding(module: ModuleType, snapshot: Snapshot) -> Finding:
    (only,) = findings(module, snapshot)
    return only


def quiet(module: ModuleType, snapshot: Snapshot) -> bool:
    """Whether a rule is silent; with a gap it says that it was blind."""
    rule = Rule(module.CODE, module.SLUG, module.check)
    blind = judge(rule, replace(snapshot, gaps=(HIDDEN,)))
    assert blind == Blind(code=module.CODE, gaps=(HIDDEN,)) or isinstance(blind, Fired)
    return judge(rule, snapshot) == Clear(code=module.CODE)
