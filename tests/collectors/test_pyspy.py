"""py-spy's answers: its JSON as 0.4.3 printed it, its failures, and hints that fit the facts."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from diag.collectors import pyspy
from diag.collectors.process import parse_stat
from diag.errors import MalformedError
from diag.host import HostInfo, Outcome
from diag.host.tape import TapedHost
from diag.model.facts import Gap, Process, Stack

if TYPE_CHECKING:
    from collections.abc import Sequence

DUMP = b"""[{"pid": 12, "thread_id": 140578926859968, "thread_name": "worker-1", "os_thread_id": 13,
"active": false, "owns_gil": true, "frames": [
{"name": "Queue.get", "filename": "/usr/lib/python3.12/queue.py", "module": null, "short_filename": "queue.py",
 "line": 171, "locals": [{"name": "self", "addr": 140578926859001, "arg": true, "repr": "<Queue at 0x7fdb1c0>"},
 {"name": "timeout", "addr": 5, "arg": false, "repr": null}], "is_entry": false, "is_shim_entry": true},
{"name": "read", "filename": "libc.so.6", "module": "/lib/libc.so.6", "short_filename": "libc.so.6", "line": 0,
 "locals": null, "is_entry": false, "is_shim_entry": false}],
"process_info": null}]"""  # noqa: E501


def test_dump() -> None:
    (stack,) = pyspy.parse_dump(DUMP, native=True)
    assert (stack.pid, stack.tid, stack.thread, stack.ident) == (12, 13, "worker-1", 140578926859968)
    assert stack.owns_gil
    python, native = stack.frames
    assert (python.function, python.line, python.native, python.entry) == ("Queue.get", 171, False, True)
    assert [(local.name, local.type_name, local.argument) for local in python.locals] == [
        ("self", "Queue", True),
        ("timeout", None, False),
    ]
    assert native.native


@pytest.mark.parametrize("data", [b"", b"{}x", b"[1]", b'[{"pid": 1}]', b"null", b'{"a": 1}'])
def test_other_forms_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        pyspy.parse_dump(data)


def info(uid: int = 0, container: str | None = None) -> HostInfo:
    return HostInfo(
        name="h", kernel="6.18", machine="x86_64", boot_id="", ticks=100, page_size=4096, cpus=2, uid=uid,
        pid=1, capabilities=0, container=container, timezone="+0000", cwd="/",
    )  # fmt: skip


class Answers(TapedHost):
    """A machine on which py-spy answers as told: the real one can not be made to hang on demand."""

    def __init__(
        self, *outcomes: Outcome, facts: HostInfo, state: str = "S", call: str = "0", runs: bool = False
    ) -> None:
        self.info = facts
        self.asked: list[Sequence[str]] = []
        self._outcomes = list(outcomes)
        self._stat = f"12 (app) {state} " + " ".join(["1"] * 60)
        self._runs = runs
        self._switches = 0
        self._rests = -1
        self._call = f"{call} 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8"

    def rests_after(self, switches: int) -> None:
        """Let the thread run no more once its status was read so often."""
        self._rests = switches

    def sleep(self, seconds: float) -> None:
        raise NotImplementedError

    def names(self, path: str) -> tuple[str, ...]:
        assert path == "/proc/12/task"
        return ("12",)

    def read(self, path: str, limit: int = 0) -> bytes:
        del limit
        if path.endswith("/stat"):
            return self._stat.encode()
        if path.endswith("/status"):
            self._switches += self._runs
            self._runs = self._runs and self._switches != self._rests
            return b"State:\tS (sleeping)\nNSpid:\t12\nvoluntary_ctxt_switches:\t%d\n" % self._switches
        if path.endswith("/syscall"):
            return self._call.encode()
        if path.endswith("/maps"):
            return b"1000-2000 r--p 0 00:00 1 /usr/bin/python2.7\n"
        if path.endswith("ptrace_scope"):
            return b"1\n"
        raise FileNotFoundError(errno.ENOENT, "no such file", path)

    def run(
        self, argv: Sequence[str], *, timeout: float, stdin: bytes = b"", redact: bool = False
    ) -> Outcome:
        del timeout, stdin
        assert redact  # never without masking
        self.asked.append(tuple(argv[5:]))
        return self._outcomes.pop(0)


HANGS = Outcome(-9, b"", b"", timed_out=True)
FAILS = Outcome(1, b"", b"Error: Failed to suspend\nReason: it would not\n")
DENIED = Outcome(1, b"", b"Permission Denied: Try running again with elevated permissions\n")
WORKS = Outcome(0, DUMP.replace(b'"os_thread_id": 13', b'"os_thread_id": 12'), b"")
WITHOUT_LOCALS = replace(
    WORKS, stdout=re.sub(rb'"locals": \[.*?\]', b'"locals": null', WORKS.stdout, flags=re.DOTALL)
)


def process(host: Answers, uid: int = 0) -> Process:
    started = int(parse_stat(host.read("/proc/12/stat").decode())["starttime"])
    return Process(pid=12, ppid=1, started=started, since=0.0, name="app", state="S", uid=uid)


def test_who_sleeps_is_not_stopped() -> None:
    host = Answers(WORKS, facts=info())
    (stack,) = look(host)
    assert host.asked == [("--locals", "--nonblocking")]
    assert stack.frames[0].locals


def test_one_thread_that_runs_in_its_place_is_stopped_without_its_locals() -> None:
    host = Answers(WORKS, WORKS, WORKS, WITHOUT_LOCALS, facts=info(), runs=True)
    (stack,) = look(host)
    assert host.asked == [("--locals", "--nonblocking")] * 3 + [()]
    assert [local.name for local in stack.frames[0].locals] == ["self", "timeout"]


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        ((WORKS, WORKS, "MOVED", "MOVED"), [("--locals",)]),
        ((WORKS, WORKS, WORKS, "MOVED", "MOVED"), [(), ("--locals",)]),
    ],
)
def test_one_that_moves_is_stopped_with_its_locals(
    answers: tuple[Outcome | str, ...], asked: list[tuple[str, ...]]
) -> None:
    moved = replace(WORKS, stdout=WORKS.stdout.replace(b'"line": 171', b'"line": 172'))
    host = Answers(
        *(moved if isinstance(answer, str) else answer for answer in answers), facts=info(), runs=True
    )
    (stack,) = look(host)
    assert host.asked == [("--locals", "--nonblocking")] * 3 + asked
    assert stack.frames[0].line == 172


def test_who_falls_asleep_is_not_stopped() -> None:
    host = Answers(WORKS, WORKS, facts=info(), runs=True)
    host.rests_after(2)
    look(host)
    assert host.asked == [("--locals", "--nonblocking")] * 2


def test_what_fails_without_a_stop_is_tried_with_one() -> None:
    host = Answers(FAILS, FAILS, WORKS, facts=info())
    look(host)
    assert host.asked == [("--locals", "--nonblocking")] * 2 + [("--locals",)]


def look(host: Answers) -> tuple[Stack, ...]:
    stacks = pyspy.collect(host, process(host), patience=pyspy.Patience())
    assert isinstance(stacks, tuple)
    return stacks


def test_a_hanging_py_spy_costs_one_time_limit() -> None:
    host = Answers(HANGS, facts=info())
    patience = pyspy.Patience()
    gap = pyspy.collect(host, process(host), patience=patience)
    assert isinstance(gap, Gap)
    assert gap.reason == "no answer within 10 s"
    assert "py-spy hangs" in gap.hint
    assert "C001" in gap.blinds
    patience.learn()
    assert patience.limit == pyspy.SHORT_PATIENCE


def test_a_py_spy_that_hangs_again_and_again_is_run_no_more() -> None:
    host = Answers(*[HANGS] * 6, facts=info())
    patience = pyspy.Patience()
    lost = 0
    while patience.limit:
        assert isinstance(pyspy.collect(host, process(host), patience=patience), Gap)
        lost += 1
        patience.learn()
    assert lost < 6
    asked = len(host.asked)
    gap = pyspy.collect(host, process(host), patience=patience)
    assert isinstance(gap, Gap)
    assert "gave no answer for other processes" in gap.reason
    assert len(host.asked) == asked


@pytest.mark.parametrize(
    ("state", "call"), [("T", "0"), ("t", "0"), ("D", "0"), ("S", "232"), ("S", "65"), ("S", "128")]
)
def test_some_processes_must_not_be_stopped(state: str, call: str) -> None:
    """Stopped, traced, waiting for a disk; or in a call that a stop ends with EINTR: 2.7's epoll, semop."""
    host = Answers(WORKS, facts=info(), state=state, call=call)
    assert isinstance(pyspy.collect(host, process(host), patience=pyspy.Patience(), native=True), tuple)
    assert host.asked == [("--locals", "--nonblocking")]


@pytest.mark.parametrize(
    ("facts", "owner", "hint"),
    [
        (info(uid=1000), 0, "sudo diag ..."),
        (info(uid=1000), 1000, "kernel.yama.ptrace_scope=0"),
        (info(uid=0), 0, "CAP_SYS_PTRACE"),
        (info(uid=0, container="docker"), 0, "--cap-add=SYS_PTRACE"),
        (info(uid=0, container="kubernetes"), 0, "securityContext"),
    ],
)
def test_hints_fit_the_facts(facts: HostInfo, owner: int, hint: str) -> None:
    host = Answers(DENIED, facts=facts)
    gap = pyspy.collect(host, process(host, owner), patience=pyspy.Patience())
    assert isinstance(gap, Gap)
    assert hint in gap.hint
    assert ("sudo" in gap.hint) == (facts.uid != 0)


def test_a_process_that_has_ended_is_no_gap() -> None:
    host = Answers(FAILS, facts=info())
    gone = Process(pid=12, ppid=1, started=99, since=0.0, name="app", state="S")  # its pid was used again
    assert pyspy.collect(host, gone, patience=pyspy.Patience()) == ()
