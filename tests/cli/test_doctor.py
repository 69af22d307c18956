"""``diag doctor``: live on this machine, and on answers of machines that we can not be."""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from diag.collectors.setting import INITIAL, parse_proc_options, parse_status
from diag.host import Clock, FdLink, HostInfo, Outcome
from diag.host.tape import TapedHost
from diag.investigate.doctor import investigate
from diag.render import terminal
from tests.support.cli import NOBODY, diag, diag_as_nobody, in_new_pid_namespace
from tests.support.processes import PROGRAMS

if TYPE_CHECKING:
    from pathlib import Path

    from diag.model.report import Report
    from diag.model.sight import Sight

PTRACE, ADMIN, SYSLOG = 1 << 19, 1 << 21, 1 << 34
ROOT_HERE = PTRACE | ADMIN | SYSLOG

PROC = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n"
CGROUP = b"30 27 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"

# What py-spy 0.4.3 says to a user about another's process, and under a seccomp filter (measured on 6.18).
DENIED = Outcome(1, b"", b"Permission Denied: Try running again with elevated permissions\n")
FORBIDDEN = Outcome(
    1,
    b"",
    b"Error: Failed to get stack traces\n\nCaused by:\n    0: Failed to suspend process\n"
    b"    1: EPERM: Operation not permitted\n",
)
SEES = Outcome(0, b"[]", b"")


class Machine(TapedHost):
    """A machine that answers as told; a number is an errno. What is not named can all be seen."""

    def __init__(
        self,
        *,
        uid: int = 0,
        capabilities: int = ROOT_HERE,
        container: str | None = None,
        **told: Any,
    ) -> None:
        self.info = HostInfo(
            name="web3", kernel="6.1.0", machine="x86_64", boot_id="b", ticks=100, page_size=4096, cpus=2,
            uid=uid, pid=77, capabilities=capabilities, container=container, timezone="+0000", cwd="/",
        )  # fmt: skip
        self._answers: dict[str, Any] = {
            "clock": Clock(1e9, 5.0, 5.0, 5.0),
            "/proc/self/ns/pid": INITIAL["pid"],
            "/proc/self/ns/user": INITIAL["user"],
            "/proc/self/status": b"Seccomp:\t0\nGroups:\t4 1000\n",
            "/proc/self/mountinfo": PROC + CGROUP,
            "/proc/sys/debug/exception-trace": b"1",
            "/proc/sys/kernel/dmesg_restrict": b"1",
            "/proc/sys/kernel/core_pattern": b"|/usr/lib/systemd/systemd-coredump %P",
            "/proc/locks": b"",
            "/dev/kmsg": b"6,1,1,-;hello\n",
            "/proc": ("1", "77", "self"),
            "/proc/77/stat": b"77 (diag) S 1 77 77 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 123" + b" 0" * 30,
            "/proc/77/status": b"Name:\tdiag\n",
            "/proc/77/task": ("77",),
            "/proc/77/task/77/stat": b"77 (diag) S 1 77 77 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 123" + b" 0" * 30,
            "/proc/77/exe": "/usr/bin/python3.12",
            "fds": (FdLink(0, "/dev/null", 0, 0),),
            "same_description": True,
            "py-spy": SEES,
            **told.pop("files", {}),
            **told,
        }

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"doctor has no reason to sleep {seconds} s")

    def _do(self, kind: Any, method: str, *arguments: Any, **options: Any) -> Any:
        del kind, options
        name = method
        if method == "run":
            name = arguments[0][0].replace("-", "_")
        elif isinstance(next(iter(arguments), None), str):
            name = arguments[0]
        answer = self._answers.get(name, self._answers.get(name.replace("_", "-"), errno.ENOENT))
        if type(answer) is int:
            raise OSError(answer, os.strerror(answer), name)
        return answer


def look(host: Machine) -> Report:
    report = investigate(host, ("doctor",))
    # Where something is hidden there is a way out, and it can be seen in the report.
    for sight in report.snapshot.sights:
        assert bool(sight.lifts) == (sight.can is False), sight
        assert sight.blinds or sight.can is not False, f"{sight.what} hides nothing?"
    return report


def show(report: Report, width: int = 80) -> str:
    return terminal.render(report, Machine(), width=width, color=False, verbose=False)


def hidden(report: Report) -> dict[str, Sight]:
    return {sight.what: sight for sight in report.snapshot.sights if sight.can is False}


def test_root_on_a_machine_sees_everything() -> None:
    report = look(Machine())
    assert hidden(report) == {}
    assert (report.verdict, report.exit_code) == ("clear", 0)
    assert "everything" in show(report)


def test_a_user_on_a_machine_is_told_sudo_and_never_docker() -> None:
    report = look(
        Machine(
            uid=1000,
            capabilities=0,
            files={
                "/proc/sys/kernel/yama/ptrace_scope": b"1",
                "/dev/kmsg": errno.EPERM,
                "/var/log": ("messages", "syslog"),
                "/var/log/messages": errno.EACCES,
                "/var/log/syslog": b"x",
            },
            py_spy=DENIED,
            journalctl=Outcome(0, b"", b"Hint: You are currently not seeing messages from other users.\n"),
        )
    )
    limits = hidden(report)
    assert set(limits) == {
        "processes of other users",
        "Python stacks (py-spy)",
        "kernel ring buffer (dmesg)",
        "system journal",
        "log files",
    }
    assert limits["Python stacks (py-spy)"].detail == "ptrace is denied: kernel.yama.ptrace_scope is 1"
    assert "sudo sysctl -w kernel.yama.ptrace_scope=0" in (limits["Python stacks (py-spy)"].lifts or "")
    text = show(report, 200)
    assert "docker" not in text
    assert "SYS_PTRACE=" not in text
    assert (report.verdict, report.exit_code) == ("blind", 4)


def test_root_is_never_told_sudo() -> None:
    report = look(
        Machine(
            capabilities=0,
            files={
                "/proc/sys/debug/exception-trace": b"0",
                "/proc/sys/kernel/core_pattern": b"|/bin/false",
                "/proc/sys/kernel/yama/ptrace_scope": b"2",
                "/dev/kmsg": errno.EPERM,
            },
            py_spy=DENIED,
        )
    )
    assert len(hidden(report)) == 4
    assert "thrown away" in next(s.detail for s in report.snapshot.sights if s.what == "core files")
    for sight in hidden(report).values():
        assert "sudo" not in (sight.lifts or "")
        assert "docker" not in (sight.lifts or "")
    assert hidden(report)["kernel lines about crashes"].lifts == "sysctl -w debug.exception-trace=1"


def test_no_way_around_ptrace_scope_3_but_a_boot() -> None:
    report = look(Machine(files={"/proc/sys/kernel/yama/ptrace_scope": b"3"}, py_spy=DENIED))
    assert "boot" in (hidden(report)["Python stacks (py-spy)"].lifts or "")


@pytest.mark.parametrize(
    ("container", "word"),
    [
        ("docker", "--cap-add=SYS_PTRACE"),
        ("podman", "podman exec --privileged"),
        ("kubernetes", "securityContext"),
        ("lxc", "lxc container"),
    ],
)
def test_in_a_container_the_hint_fits_its_engine(container: str, word: str) -> None:
    report = look(
        Machine(
            capabilities=0,
            container=container,
            same_description=errno.EPERM,
            files={"/proc/self/status": b"Seccomp:\t2\n", "/proc/self/ns/pid": "pid:[4026532201]"},
            py_spy=FORBIDDEN,
        )
    )
    limits = hidden(report)
    stacks = limits["Python stacks (py-spy)"]
    assert "seccomp" in stacks.detail
    assert word in (stacks.lifts or "")
    assert "processes of the whole machine" in limits
    assert "kcmp" not in limits, "no rule needs it"
    assert not any("sudo" in (sight.lifts or "") for sight in limits.values())
    if container != "docker":
        assert not any("docker" in (sight.lifts or "") for sight in limits.values())


@pytest.mark.parametrize(
    ("dump", "word"),
    [
        (errno.ENOENT, "pip install"),
        (Outcome(-9, b"", b"", timed_out=True), "upgrade"),
        (Outcome(1, b"", b"Error: Failed to find python version from target process\n"), "upgrade"),
    ],
)
def test_py_spy_missing_hanging_or_failing(dump: Outcome | int, word: str) -> None:
    report = look(Machine(py_spy=dump))
    assert word in (hidden(report)["Python stacks (py-spy)"].lifts or "")


@pytest.mark.parametrize(
    ("options", "sees"),
    [(b",hidepid=2", False), (b",hidepid=invisible,gid=4", True), (b"", True), (b",hidepid=0", True)],
)
def test_hidepid(options: bytes, *, sees: bool) -> None:
    line = PROC.strip() + options + b"\n" + CGROUP
    report = look(Machine(uid=1000, capabilities=0, files={"/proc/self/mountinfo": line}))
    assert ("that other users' processes run" not in hidden(report)) == sees


def test_a_machine_that_answers_nothing_gives_limits_and_no_traceback() -> None:
    silent = Machine()
    silent._answers = {"clock": Clock(1.0, 1.0, 1.0, 1.0)}
    assert investigate(silent, ("doctor",)).exit_code == 4


def test_hostile_text_does_not_reach_the_terminal() -> None:
    text = show(look(Machine(files={"/proc/sys/kernel/core_pattern": b"|\x1b[31mred"})))
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_fits_the_width_and_leaves_no_trailing_blanks(width: int) -> None:
    text = show(look(Machine(uid=1000, capabilities=0)), width)
    assert max(map(len, text.splitlines())) <= width
    assert not re.search(r" $", text, re.MULTILINE)


def test_parsers_on_odd_text() -> None:
    assert parse_status("") == (False, frozenset())
    assert parse_status("Seccomp:\t2\nGroups:\t\n") == (True, frozenset())
    covered = "1 2 0:1 / /proc rw - proc proc rw,hidepid=2\n3 1 0:2 / /proc rw - proc proc rw\n"
    assert "hidepid" not in parse_proc_options(covered)


@pytest.mark.live
def test_live_and_replayed_by_somebody_else(tmp_path: Path) -> None:
    tape = tmp_path / "doctor.diag"
    first = diag("record", "-o", tape, "--", "doctor", "--format", "json", form="terminal")
    assert first.code in (0, 4), first
    again = diag("doctor", "--replay", tape)
    assert again.stdout == first.stdout
    assert again.code == first.code
    seen = {item["what"]: item for item in first.json["doctor"]}
    assert seen["file locks"]["can"] is True
    assert str(os.geteuid()) in seen["who is looking"]["detail"]


def test_a_recording_of_another_command_is_refused(tmp_path: Path) -> None:
    tape = tmp_path / "locks.diag"
    diag("record", "-o", tape, "--", "locks", "/nonexistent", form="terminal")
    answer = diag("doctor", "--replay", tape, form="terminal")
    assert answer.code == 2
    assert "record -o FILE -- doctor" in answer.stderr


@pytest.mark.live
def test_live_as_nobody() -> None:
    nobody = diag_as_nobody("doctor")
    assert nobody.code == 4
    seen = {item["what"]: item for item in nobody.json["doctor"]}
    assert f"uid {NOBODY}" in seen["who is looking"]["detail"]
    assert seen["processes of other users"]["can"] is False
    assert "sudo" in seen["processes of other users"]["lifts"] or nobody.json["host"]["container"]


@pytest.mark.live
def test_live_in_a_pid_namespace() -> None:
    inner = diag("doctor", within=in_new_pid_namespace())
    assert inner.code == 4
    seen = {item["what"]: item for item in inner.json["doctor"]}
    assert seen["processes of the whole machine"]["can"] is False
    assert "processes of the whole machine" in {gap["source"] for gap in inner.json["gaps"]}


@pytest.mark.live
def test_live_under_a_seccomp_filter_like_a_containers() -> None:
    sandbox = (sys.executable, str(PROGRAMS / "forbidden.py"))
    inner = diag("doctor", within=sandbox)
    seen = {item["what"]: item for item in inner.json["doctor"]}
    assert "seccomp" in seen["who is looking"]["detail"]
    assert seen["kcmp"]["detail"].startswith("refused")
    # py-spy can not stop a process here, but it can read one that runs.
    assert seen["Python stacks (py-spy)"]["can"] is True
