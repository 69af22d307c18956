"""T006: a blocking call runs inside an event loop, so that nothing else of the loop can run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Severity
from diag.model.graph import How
from diag.rules import chains, phrases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.model.facts import Evidence, Frame
    from diag.model.graph import Wait
    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Graph

CODE, SLUG = "T006", "blocked-event-loop"

# Library file and function of what calls back into the program; what it sleeps in when it is idle.
_LOOPS = {
    ("asyncio/base_events.py", "_run_once"): "asyncio",
    ("asyncio/runners.py", "run"): "asyncio",  # of a loop in C, such as uvloop
    ("trio/_core/_run.py", "unrolled_run"): "trio",
    ("twisted/internet/base.py", "mainLoop"): "twisted",
    ("tornado/ioloop.py", "start"): "tornado",
    ("gevent/hub.py", "run"): "gevent",  # of a callback of the hub; greenlets show in memory only
    ("eventlet/greenthread.py", "main"): "eventlet",  # of a green thread; the hub itself runs without it
}
_IDLE_FILES = ("/selectors.py", "/epollreactor.py", "/trio/_core/_io_epoll.py", "/tornado/platform/epoll.py")
_IDLE_KINDS = frozenset(
    {"epoll", "io_uring", "cpu", "gil", "unknown", "ended", "stopped", "traced", "frozen", "throttled"}
)


_CURE = (
    "in the code: await an asynchronous call instead, or run the blocking one in a thread "
    "(asyncio.to_thread, loop.run_in_executor), and give it a time limit"
)
_CURES = {
    "gevent": "in the code: call gevent.monkey.patch_all() before anything else is imported; what it cannot "
    "patch (file locks, database drivers in C) belongs into gevent.get_hub().threadpool.apply(), with a "
    "time limit",
    "eventlet": "in the code: call eventlet.monkey_patch() before anything else is imported; what it cannot "
    "patch (file locks, database drivers in C) belongs into eventlet.tpool.execute(), with a time limit",
}


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """A thread sleeps below the frame in which an event loop runs its callbacks, and not in its selector."""
    if snapshot.core is not None:
        return  # it shows one moment, which a gap says
    graph = chains.Graph(snapshot)
    for seen in snapshot.threads:
        wait = seen.wait
        if wait is None or not wait.stuck or seen.stack is None or wait.resource.kind in _IDLE_KINDS:
            continue
        held = seen.held_loop
        loop = held.kind if held else loop_around(seen.stack.frames)
        if loop:
            yield _finding(graph, wait, loop, (held.evidence,) if held else ())


def loop_around(frames: Sequence[Frame]) -> str | None:
    """The loop that a stack is a callback of; None when it sleeps in its own selector."""
    inner = next((frame for frame in frames if not frame.native), None)
    if inner is None or inner.file.endswith(_IDLE_FILES):
        return None
    for frame in frames:
        for (file, function), name in _LOOPS.items():
            if frame.function.rpartition(".")[2] == function and frame.file.endswith(f"/{file}"):
                return name if frame is not inner else None
    return None


def _finding(graph: Graph, wait: Wait, loop: str, more: tuple[Evidence, ...]) -> Finding:
    path = graph.path(wait) if chains.active(wait) else (wait,)
    timed = wait.how is How.TIMED
    victims = graph.victims([wait])
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"the {loop} event loop of {phrases.who(wait.waiter)} stands still in a blocking call: "
            f"{wait.words}"
        ),
        severity=Severity.WARNING if timed else Severity.CRITICAL,
        confidence=Confidence.CERTAIN,
        culprit=wait.waiter,
        victims=victims,
        resource=wait.resource,
        chain=chains.links(path),
        evidence=(*chains.evidence(path), *more),
        against=("the call has a time limit, after which the loop goes on",) if timed else (),
        remedy=(
            f"look at what it waits for: diag why {wait.waiter.pid}; kill -KILL {wait.waiter.pid} ends the "
            "process, and every connection it serves",
            _CURES.get(loop, _CURE),
        ),
        check=phrases.check_stack(wait.waiter.pid),
    )
