"""The terminal view of stacks: what repeats is folded, hostile names stay text, 80 and 200 columns."""

from __future__ import annotations

import pytest

from diag.host import HostInfo
from diag.host.tape import TapedHost
from diag.model.facts import Frame, Local, Process, Stack, Thread
from diag.model.graph import Actor, How, Resource, Wait
from diag.model.report import Report
from diag.model.snapshot import SeenThread, Snapshot
from diag.render.fold import alike, runs, without_bootstrap
from diag.render.terminal import render


def frame(function: str, line: int = 1, file: str = "/srv/app.py", **fields: object) -> Frame:
    locals_ = fields.get("locals", ())
    assert isinstance(locals_, tuple)
    return Frame(function=function, file=file, line=line, locals=locals_)


def seen(
    pid: int, tid: int, *frames: Frame, name: str = "worker", words: str = "waits for a lock"
) -> SeenThread:
    process = Process(pid=pid, ppid=1, started=1, since=0.0, name="app", state="S", argv=("app",))
    wait = Wait(
        waiter=Actor(pid=pid, started=1, process="app", tid=tid),
        resource=Resource(kind="futex", key=f"futex:{tid}", name="x"),
        how=How.BLOCKED,
        words=words,
    )
    stack = Stack(pid=pid, tid=tid, thread=name, frames=frames) if frames else None
    return SeenThread(
        process=process, thread=Thread(pid=pid, tid=tid, name=name, state="S"), stack=stack, wait=wait
    )


class Nowhere(TapedHost):
    """A host that is only there to be named."""

    info = HostInfo(
        name="h", kernel="6", machine="x86_64", boot_id="", ticks=100, page_size=4096, cpus=1, uid=0,
        pid=1, capabilities=0, container=None, timezone="+0000", cwd="/",
    )  # fmt: skip

    def sleep(self, seconds: float) -> None:
        raise NotImplementedError


def text(*threads: SeenThread, width: int = 80, verbose: bool = False) -> str:
    report = Report(
        command=("stacks",), view="stacks", snapshot=Snapshot(threads=threads), verdicts=(), taken_at=0.0
    )
    return render(report, Nowhere(), width=width, color=False, verbose=verbose)


def test_same_lines_in_many_processes_are_shown_once() -> None:
    threads = [seen(pid, pid * 10 + number, frame("work", 12)) for pid in range(1, 7) for number in range(2)]
    assert [len(group) for group in alike(threads)] == [12]
    shown = text(*threads)
    assert "12 threads in 6 processes" in shown
    assert shown.count("/srv/app.py:12") == 1


def test_different_lines_or_waits_stay_apart() -> None:
    threads = [seen(1, 1, frame("a", 1)), seen(1, 2, frame("a", 2)), seen(1, 3), seen(1, 4, words="other")]
    assert len(alike(threads)) == 4


def test_recursion_is_folded() -> None:
    frames = [frame("leaf"), *[frame("even", 2), frame("odd", 3)] * 500, frame("<module>", 9)]
    assert [(len(run.frames), run.times) for run in runs(frames)] == [(1, 1), (2, 500), (1, 1)]
    assert [run.times for run in runs([frame("f")] * 3)] == [1, 1, 1]  # too few to be worth a line
    assert runs([]) == []
    assert "these 2 lines 500 times in a row" in text(seen(1, 1, *frames))


def test_frames_with_other_variables_are_not_folded_away() -> None:
    frames = [frame("f", locals=(Local(name="n", value=str(n), address=n),)) for n in range(30)]
    assert len(runs(frames)) == 30


def test_what_every_thread_begins_with_is_left_out() -> None:
    library = "/usr/lib/python3.12/threading.py"
    begin = (frame("Thread.run", 1010, library), frame("Thread._bootstrap", 1030, library))
    assert without_bootstrap((frame("work"), *begin)) == (frame("work"),)
    assert without_bootstrap(begin) == begin
    waits = (frame("Condition.wait", 355, library), *begin)
    assert without_bootstrap(waits) == waits[:1]


@pytest.mark.parametrize("width", [80, 200])
def test_hostile_names_and_long_paths_stay_within_the_width(width: int) -> None:
    evil = "\x1b[31mred\r\n[bold]x[/bold]" + "y" * 300
    shown = text(seen(1, 1, frame(evil, 5, f"/{evil}"), name=evil, words=evil), width=width, verbose=True)
    assert "\x1b" not in shown
    assert "[bold]x[/bold]" in shown.replace("\n", "").replace(" ", "")
    assert max(map(len, shown.splitlines())) <= width
