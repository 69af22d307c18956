"""P005: a thread waits for a process that does not run: the other end, a child, the owner of a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from diag.model.finding import Confidence, Finding, Severity
from diag.rules import chains, halted, phrases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.model.facts import Evidence, Process
    from diag.model.graph import Actor, Wait
    from diag.model.snapshot import SeenThread, Snapshot
    from diag.rules.chains import Graph

CODE, SLUG = "P005", "stopped-peer"
_TOLD_ELSEWHERE = halted.KINDS | {"file-lock", "soft-lock", "io", "database-lock", "collect"}
"""Kinds of wait whose stopped holder L004, P004 and D002 name, and those that are none."""
_WUNTRACED = 2  # also WSTOPPED: who waits with it is told of a stop, and waits for more (waitpid(2))


class _Halted(NamedTuple):
    """Who does not run, and the waits that only it could end."""

    process: Process
    waits: list[Wait]
    beside: set[int]  # others that could end one of them, and do not run either


class _Why(NamedTuple):
    """Why it does not run, in words, and what lets it."""

    words: str
    evidence: tuple[Evidence, ...]
    remedy: tuple[str, ...]
    check: str
    against: tuple[str, ...]  # what speaks against it: then it is likely at most


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """One finding for each process that does not run, if somebody waits for it and nobody else can help."""
    graph = chains.Graph(snapshot)
    found: dict[str, _Halted] = {}
    for wait in graph.stuck.values():
        peers = _idle_peers(graph, wait)
        process = snapshot.process(peers[0].pid) if peers else None
        if process is None or _is_calm(graph, wait, process):
            continue
        # A frozen cgroup is one cause, however many processes are in it.
        key = f"cgroup {process.cgroup}" if process.frozen else str(process.pid)
        one = found.setdefault(key, _Halted(process, [], set()))
        one.waits.append(wait)
        one.beside.update(peer.pid for peer in peers if peer.pid != one.process.pid)
    for one in found.values():
        yield _finding(graph, one)


def _idle_peers(graph: Graph, wait: Wait) -> tuple[Actor, ...]:
    """Those who do not run, where nobody who does could end the wait."""
    if wait.resource.kind in _TOLD_ELSEWHERE:
        return ()
    holders = [hold.holder for hold in chains.active(wait)]
    still = tuple(holder for holder in holders if _does_not_run(graph.threads(holder.pid)))
    needs_all = wait.resource.kind not in chains.ANY_OF
    return still if still and (needs_all or len(still) == len(holders)) else ()


def _does_not_run(threads: Sequence[SeenThread]) -> bool:
    return halted.all_halted(threads) or halted.starved(threads) is not None


def _is_calm(graph: Graph, wait: Wait, process: Process) -> bool:
    """Whether the wait is as it should be: a debugger's, a shell's, or that of a server for its client."""
    if wait.resource.kind == "child":
        seen = graph.seen(wait.waiter)
        call = seen.thread.syscall if seen else None
        told = bool(call and len(call.arguments) > 3 and _options(call.name, call.arguments) & _WUNTRACED)
        return told or process.tracer == wait.waiter.pid
    # Nobody misses the next request of a client that was stopped, unless others wait for the server's thread.
    return wait.serves and wait.resource.mode == "read" and not graph.victims([wait])


def _options(call: str | None, arguments: tuple[int, ...]) -> int:
    return arguments[2] if call == "wait4" else arguments[3]


def _finding(graph: Graph, one: _Halted) -> Finding:
    snapshot, process = graph.snapshot, one.process
    one.waits.sort(key=lambda wait: (wait.since or snapshot.taken_at, wait.waiter.pid))
    first = one.waits[0]
    victims = tuple(dict.fromkeys((*(wait.waiter for wait in one.waits), *graph.victims(one.waits))))
    culprit = next(hold.holder for hold in chains.active(first) if hold.holder.pid == process.pid)
    why = _why(graph, process)
    more = len(victims) - 1
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{phrases.who(culprit)} {why.words}{_beside(one)}; "
            f"{phrases.who(first.waiter)} {first.words}"
            f"{f'; {phrases.waiting(more)} behind it' if more > 0 else ''}"
        ),
        severity=Severity.WARNING if why.against else Severity.CRITICAL,
        confidence=Confidence.LIKELY if why.against else chains.confidence([first]),
        culprit=culprit,
        victims=victims,
        resource=first.resource,
        chain=chains.links(graph.into(first)),
        evidence=(*why.evidence, *chains.evidence(one.waits)),
        against=why.against,
        remedy=(
            *why.remedy,
            "in the code: wait for other processes with a time limit, and say in the log whom you wait for",
        ),
        check=(why.check, *_check(one.waits)),
    )


def _why(graph: Graph, process: Process) -> _Why:
    starved = halted.starved(graph.threads(process.pid))
    if starved:
        return _Why(
            words=starved.words,
            evidence=starved.evidence,
            remedy=(
                "give it more CPU time: systemctl set-property UNIT CPUQuota=…, docker update --cpus, or the "
                "CPU limit of its pod; or find out what in the cgroup uses the quota up",
            ),
            check=f"cat {starved.resource.path}/cpu.stat",
            against=("it does go on, slowly: whoever waits may get an answer in the end",),
        )
    looked_at = halted.is_looked_at(graph.snapshot, process)
    return _Why(
        words=f"is {halted.state(graph.snapshot, process)}",
        evidence=(halted.evidence(process),),
        remedy=tuple(halted.remedy(process)),
        check=halted.check(process),
        against=(halted.AGAINST_A_LOOK,) if looked_at else (),
    )


def _beside(one: _Halted) -> str:
    others = sorted(one.beside)
    return f", and so {'is' if len(others) == 1 else 'are'} {phrases.pids(others)}" if others else ""


def _check(waits: Sequence[Wait]) -> Iterator[str]:
    pid, tid = waits[0].waiter.pid, waits[0].waiter.tid or waits[0].waiter.pid
    yield f"cat /proc/{pid}/task/{tid}/wchan /proc/{pid}/task/{tid}/syscall; ls -l /proc/{pid}/fd"
