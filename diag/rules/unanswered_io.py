"""P004: a thread waits in the kernel for a file system whose server or device does not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from diag.model.finding import Confidence, Finding, Severity
from diag.rules import chains, halted, phrases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.model.graph import Actor, Wait
    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Graph

CODE, SLUG = "P004", "unanswered-io"
LONG = {"fuse": 10.0, "network": 10.0, "disk": 30.0}
"""Seconds after which an answer is late where nothing else says that none will come; a disk may be slow."""


class _Verdict(NamedTuple):
    """Why no answer comes."""

    culprit: Actor | None
    words: str
    severity: Severity
    confidence: Confidence
    waits: tuple[Wait, ...] = ()  # of the server, along its own chain
    against: tuple[str, ...] = ()


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """One finding for each file system that threads wait for, if its server can not or does not answer."""
    graph = chains.Graph(snapshot)
    groups: dict[str, list[Wait]] = {}
    for wait in graph.stuck.values():
        if wait.resource.kind == "io":
            groups.setdefault(wait.resource.key, []).append(wait)
    for waits in groups.values():
        waits.sort(key=lambda wait: (wait.since or snapshot.taken_at, wait.waiter.pid))
        verdict = _by_server(graph, waits[0]) or _by_time(graph, waits[0])
        if verdict:
            yield _finding(graph, waits, verdict)


def _by_server(graph: Graph, wait: Wait) -> _Verdict | None:
    """Judge by what the server does: it does not run, or waits for something itself."""
    servers = [hold.holder for hold in chains.active(wait)]
    if not servers:
        return None
    stopped = [server for server in servers if halted.all_halted(graph.threads(server.pid))]
    sure = wait.certain and all(hold.certain for hold in chains.active(wait))
    if len(stopped) == len(servers):
        return _by_halted(graph, stopped[0], sure=sure)
    path = graph.path(wait)
    if not all(graph.behind(wait, hold) for hold in chains.active(wait)) or len(path) < 2:
        return None
    last = path[-1]
    ring = any(each in path for each in graph.next(last))
    does = ", held up by ".join(f"{phrases.who(each.waiter)}, which {phrases.hop(each)}" for each in path[1:])
    words = f"waits itself: {does}" + ("; that closes a ring" if ring else "")
    return _Verdict(path[1].waiter, words, Severity.CRITICAL, Confidence.LIKELY, path[1:])


def _by_halted(graph: Graph, server: Actor, *, sure: bool) -> _Verdict:
    process = graph.snapshot.process(server.pid)
    words = f"does not run: {_doing(graph, server)}"
    if process and halted.is_looked_at(graph.snapshot, process):
        against = (halted.AGAINST_A_LOOK,)
        return _Verdict(server, words, Severity.WARNING, Confidence.LIKELY, _own(graph, server), against)
    confidence = Confidence.CERTAIN if sure else Confidence.LIKELY
    return _Verdict(server, words, Severity.CRITICAL, confidence, _own(graph, server))


def _by_time(graph: Graph, wait: Wait) -> _Verdict | None:
    """Judge by the time alone, where nothing shows that no answer will come."""
    kind = wait.resource.mode or "disk"
    waited = graph.snapshot.taken_at - wait.since if graph.snapshot.taken_at and wait.since else 0.0
    if waited < LONG[kind]:
        return None
    servers = [hold.holder for hold in chains.active(wait)]
    late = f"has not answered for {waited:.0f} s"
    against = ("it may be slow rather than dead: look again in a minute",)
    if servers:
        words = f"{late}; it does this: {_doing(graph, servers[0])}"
        return _Verdict(servers[0], words, Severity.CRITICAL, Confidence.LIKELY, (), against)
    if kind == "disk":
        return _Verdict(None, late, Severity.WARNING, Confidence.POSSIBLE, (), against)
    sure = Confidence.LIKELY if kind == "network" and wait.certain else Confidence.POSSIBLE
    return _Verdict(None, late, Severity.CRITICAL, sure, (), against)


def _doing(graph: Graph, server: Actor) -> str:
    seen = graph.seen(server)
    return seen.wait.words if seen and seen.wait else "unknown"


def _own(graph: Graph, server: Actor) -> tuple[Wait, ...]:
    seen = graph.seen(server)
    return (seen.wait,) if seen and seen.wait else ()


def _finding(graph: Graph, waits: Sequence[Wait], verdict: _Verdict) -> Finding:
    first = waits[0]
    others = (*(wait.waiter for wait in waits), *graph.victims(waits))
    victims = tuple(actor for actor in dict.fromkeys(others) if actor != verdict.culprit)
    server = (
        f"its server, {phrases.who(verdict.culprit)}, {verdict.words}"
        if verdict.culprit
        else f"it {verdict.words}"
    )
    more = len(victims) - 1
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=f"{phrases.who(first.waiter)} {first.words}; {server}"
        + (f"; {phrases.waiting(more)} for it" if more > 0 else ""),
        severity=verdict.severity,
        confidence=verdict.confidence,
        culprit=verdict.culprit,
        victims=victims,
        resource=first.resource,
        chain=chains.links((*graph.into(first), *verdict.waits)),
        evidence=chains.evidence((*verdict.waits, *waits)),
        against=verdict.against,
        remedy=tuple(_remedy(first, verdict)),
        check=tuple(_check(first, verdict)),
    )


def _remedy(wait: Wait, verdict: _Verdict) -> Iterator[str]:
    server = verdict.culprit
    if server and verdict.waits and verdict.waits[0].resource.kind == "stopped":
        yield f"kill -CONT {server.pid} lets the server go on; nothing is lost"
    elif server and verdict.waits and verdict.waits[0].resource.kind in halted.KINDS:
        yield f"let it go on: {verdict.waits[0].resource.name}"
    elif server:
        yield f"look at the server: diag why {server.pid}"
    if wait.resource.mode == "fuse":
        yield (
            "end the file system: kill the server, or write 1 to /sys/fs/fuse/connections/N/abort, N being "
            "the minor number of its mount: all who wait get an error (ENOTCONN), open files are lost"
        )
        yield "in the server: answer each request within a time limit, with an error if need be"
    elif wait.resource.mode == "network":
        yield (
            "bring the server back, or end the mount by force: umount -f, or umount -l; writes that were not "
            "sent yet are lost"
        )
        yield "mount with soft,timeo=… (NFS) where an error is better than a wait without end"
    else:
        yield "look for errors of the device in the kernel log; its waiters can not be killed"


def _check(wait: Wait, verdict: _Verdict) -> Iterator[str]:
    pid, tid = wait.waiter.pid, wait.waiter.tid or wait.waiter.pid
    yield f"cd /proc/{pid}/task/{tid}; grep State status; cat wchan; sudo cat stack"
    if verdict.culprit:
        server = verdict.culprit.pid
        yield f"grep -E '^(State|TracerPid)' /proc/{server}/status; diag stacks {server}"
    if wait.resource.mode == "disk":
        yield "cat /proc/diskstats; dmesg | grep -E 'blocked for more than|I/O error'"
