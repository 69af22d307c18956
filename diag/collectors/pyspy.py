"""Python stacks, from ``py-spy dump --json``, run as a program of its own within a time limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from diag.collectors import fuse, thread_ids, threads
from diag.collectors.process import parse_stat, started
from diag.errors import MalformedError
from diag.model.facts import Frame, Gap, Local, Process, Stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.host import Host

PATIENCE = 10.0
"""Seconds one dump may take. py-spy hangs on targets in D state or a frozen cgroup (facts, section 10)."""
SHORT_PATIENCE = 2.0
"""The same once it has hung: a dump takes 0.03 to 0.2 s, so it is likely to hang again."""
MOST_LOST = 20.0
"""Seconds that may be lost on a py-spy that hangs, before it is run no more."""

_LATE = "no answer within"
_HANGS = "not tried: it gave no answer for other processes"

# System calls that fail with EINTR when their process is stopped and let go: signal(7), last section.
_RETRIED_SINCE_3_5 = frozenset({"epoll_wait", "epoll_pwait", "epoll_pwait2", "rt_sigtimedwait"})  # PEP 475
_ENDED_BY_A_STOP = frozenset({"semop", "semtimedop", "msgrcv", "msgsnd", "io_getevents"})
# A stop makes a write that has got half of its data out return that half. Measured on a full pipe: Python 3
# takes a partial sys.stdout.write() for a whole one, loses the rest and goes on, freed from its deadlock.
_CUT_SHORT_BY_A_STOP = frozenset(
    {"write", "writev", "pwrite64", "pwritev", "sendto", "sendmsg", "sendmmsg", "sendfile", "splice"}
)

STACK_RULES = frozenset({"L001", "L005", "L006", "C001"})
"""Rules that a missing stack may blind."""


def parse_dump(data: bytes) -> tuple[Stack, ...]:
    """Parse the JSON of one dump.

    Raises ``MalformedError`` when it is not what py-spy 0.4 prints.
    """
    try:
        return tuple(_stack(thread) for thread in msgspec.json.decode(data))
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise MalformedError(f"py-spy's JSON is not in the known form: {error}") from error


def _stack(thread: dict[str, Any]) -> Stack:
    return Stack(
        pid=int(thread["pid"]),
        tid=thread["os_thread_id"],
        ident=int(thread["thread_id"]),
        thread=thread["thread_name"],
        frames=tuple(_frame(frame) for frame in thread["frames"]),
        owns_gil=bool(thread["owns_gil"]),
        active=bool(thread["active"]),
    )


def _frame(frame: dict[str, Any]) -> Frame:
    file = str(frame["filename"])
    return Frame(
        function=str(frame["name"]),
        file=file,
        line=int(frame["line"]),
        native=not file.endswith((".py", ".pyc", ".pyx", ">")) and frame.get("locals") is None,
        entry=bool(frame.get("is_entry") or frame.get("is_shim_entry")),
        locals=tuple(
            Local(
                name=str(local["name"]),
                value=str(local["repr"] or ""),
                address=int(local["addr"]),
                argument=bool(local["arg"]),
            )
            for local in frame.get("locals") or ()
        ),
    )


class Patience:
    """How long py-spy is waited for: shorter once it has hung, over all processes of one run."""

    def __init__(self) -> None:
        self.limit = PATIENCE
        """Seconds the next dump may take; 0 when it is not worth another try."""
        self._lost = 0.0

    def lose(self, seconds: float) -> None:
        """A dump gave no answer for so long."""
        self._lost += seconds

    def learn(self) -> None:
        """Set the limit anew: between dumps that run side by side, for a replay must come to the same."""
        if self._lost:
            self.limit = SHORT_PATIENCE if self._lost < MOST_LOST else 0.0


def collect(
    host: Host, process: Process, *, patience: Patience, pause: bool = True, native: bool = False
) -> tuple[Stack, ...] | Gap:
    """Read the stacks of one process, locals included (they name what is waited for).

    ``pause`` stops the target for the few milliseconds of the dump, which makes it consistent, where
    ``may_pause`` allows it. A process that ends meanwhile has no stacks, and that is no gap.
    """
    tries = [["--nonblocking"]] * 3
    if pause and may_pause(host, process):
        tries = [["--native"] if native else [], ["--nonblocking"], ["--nonblocking"]]
    trouble = _HANGS
    limit = patience.limit
    for options in tries if limit else ():
        argv = ["py-spy", "dump", "--json", "--locals", "--pid", str(process.pid), *options]
        answer = _attempt(host, argv, limit)
        if isinstance(answer, tuple):
            return thread_ids.resolve(host, process, answer)
        trouble = answer
        # A container's seccomp filter may forbid to stop a process, but not to read it (measured).
        if "EPERM" in trouble and "--nonblocking" not in options:
            continue
        late = trouble.startswith(_LATE)
        if late:
            patience.lose(limit)
            limit = min(limit, SHORT_PATIENCE)
        again = late and options == ["--nonblocking"]  # it would be late again
        if again or is_denial(trouble) or _is_no_python(trouble) or not _lives(host, process):
            break
    if not _lives(host, process):
        return ()
    return Gap(
        source="py-spy",
        hides=f"Python stacks of pid {process.pid} ({process.name})",
        reason=trouble,
        hint=_hint(host, process, trouble),
        blinds=STACK_RULES,
    )


def is_denied(host: Host, process: Process) -> bool:
    """Whether the reader may not look into a process at all: its system calls ask for the same right."""
    try:
        host.read(f"/proc/{process.pid}/syscall", 1)
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def denied_gap(host: Host, process: Process) -> Gap:
    """Say what stays hidden of a process that the reader may not look into."""
    return Gap(
        source="/proc/PID/syscall",
        hides=f"what the threads of pid {process.pid} ({process.name}) do",
        reason="permission denied",
        hint=may_look_hint(host, process),
        blinds=STACK_RULES,
    )


def may_pause(host: Host, process: Process) -> bool:
    """Whether the process can be stopped for a moment without harm.

    Not when a thread is stopped, traced, frozen, in D state or waits for a FUSE server: py-spy fails or hangs
    on it. Not when
    a thread is in a system call that a stop ends with EINTR (signal(7)), unless what called it is known to
    try again: measured, a 2.7 program in epoll_wait() died of "Interrupted system call". And not when one
    is in a write, which a stop cuts short.
    """
    if process.tracer is not None or process.frozen:
        return False
    try:
        names = host.names(f"/proc/{process.pid}/task")
    except OSError:
        return False
    if any(_state(host, f"/proc/{process.pid}/task/{name}/stat") in "TtD" for name in names):
        return False
    if any(_waits_for_server(host, f"/proc/{process.pid}/task/{name}/wchan") for name in names):
        return False
    calls = {call.name for _, call in threads.syscalls(host, process.pid) if call}
    if calls & (_ENDED_BY_A_STOP | _CUT_SHORT_BY_A_STOP):
        return False
    return not calls & _RETRIED_SINCE_3_5 or not _is_python_2(host, process)


def _is_python_2(host: Host, process: Process) -> bool:
    try:
        return b"python2" in host.read(f"/proc/{process.pid}/maps", 4 << 20)
    except OSError:
        return True


def _state(host: Host, path: str) -> str:
    try:
        return parse_stat(host.read(path, 1 << 12).decode("utf-8", "replace"))["state"]
    except (OSError, MalformedError):
        return "X"


def _waits_for_server(host: Host, path: str) -> bool:
    try:
        return fuse.SLEEPS_IN in host.read(path, 1 << 12).decode("ascii", "replace")
    except OSError:
        return False


def _lives(host: Host, process: Process) -> bool:
    """Whether the same process still runs; its first thread may have ended before the others."""
    try:
        alone = len(host.names(f"/proc/{process.pid}/task")) == 1
    except OSError:
        return False
    ended = _state(host, f"/proc/{process.pid}/stat") in "ZX"
    return started(host, process.pid) == process.started and not (ended and alone)


def is_denial(trouble: str) -> bool:
    """Whether py-spy was refused, rather than failed."""
    return "ermission" in trouble or "os error 1)" in trouble or "not permitted" in trouble


def _is_no_python(trouble: str) -> bool:
    return "not a python" in trouble.lower() or "find python version" in trouble


def _attempt(host: Host, argv: Sequence[str], limit: float) -> tuple[Stack, ...] | str:
    """Run py-spy once, for ``limit`` seconds: its stacks, or what went wrong in one line."""
    try:
        done = host.run(argv, timeout=limit, redact=True)
    except OSError as error:
        return f"cannot run py-spy: {error.strerror}"
    if done.timed_out:
        return f"{_LATE} {limit:g} s"
    if done.code != 0:
        return _reason(done.stderr.decode("utf-8", "replace"))
    try:
        return parse_dump(done.stdout)
    except MalformedError as error:
        return str(error)


def _reason(stderr: str) -> str:
    """The root of py-spy's error chain: its last "Reason:" line, or its last line at all."""
    told = stderr.partition("Stack backtrace:")[0]  # printed where RUST_BACKTRACE is set
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    reasons = [line for line in lines if line.startswith("Reason:")]
    last = (reasons or lines or ["it failed without a word"])[-1]
    return last.removeprefix("Reason:").removeprefix("Error:").strip()


def _hint(host: Host, process: Process, trouble: str) -> str:
    if trouble.startswith("cannot run"):
        return "install py-spy where diag is installed: pip install py-spy"
    if is_denial(trouble):
        return may_look_hint(host, process)
    if trouble.startswith((_LATE, _HANGS)):
        return (
            "py-spy hangs: does 'py-spy --version' answer? If so, see where it waits: "
            f"timeout 20 strace -f py-spy dump --nonblocking --pid {process.pid}"
        )
    return f"see what py-spy itself says: py-spy dump --pid {process.pid}"


def may_look_hint(host: Host, process: Process) -> str:
    """Say what gives the reader the right to look into a process, fitting the facts at hand."""
    info = host.info
    if info.container == "kubernetes":
        return (
            'give the container the capability SYS_PTRACE: securityContext.capabilities.add: ["SYS_PTRACE"]'
        )
    if info.container:
        return "start the container with --cap-add=SYS_PTRACE, or run diag on its host"
    if info.uid == 0:
        return "root was refused: run diag with CAP_SYS_PTRACE; 'diag doctor' says what is missing"
    if process.uid == info.uid and _yama(host) >= 1:
        return (
            "sudo diag ..., or let users trace their own processes: sudo sysctl -w kernel.yama.ptrace_scope=0"
        )
    return "sudo diag ..."


def _yama(host: Host) -> int:
    try:
        return int(host.read("/proc/sys/kernel/yama/ptrace_scope", 16))
    except (OSError, ValueError):
        return 0
