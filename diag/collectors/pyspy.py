"""Python stacks, from ``py-spy dump --json``, run as a program of its own within a time limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec.structs import replace

from diag.collectors import pausing, thread_ids, threads
from diag.collectors.process import started
from diag.errors import MalformedError
from diag.model.facts import Frame, Gap, Local, Process, Stack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from diag.host import Host

PATIENCE = 10.0
"""Seconds one dump may take. py-spy hangs on targets in D state or a frozen cgroup (facts, section 10)."""
SHORT_PATIENCE = 2.0
"""The same once it has hung: a dump takes 0.03 to 0.2 s, so it is likely to hang again."""
MOST_LOST = 15.0
"""Seconds that may be lost on a py-spy that hangs, before it is run no more."""

_LATE = "no answer within"
_MISSING = "cannot run py-spy"
_HANGS = "not tried: it gave no answer for other processes"

STACK_RULES = frozenset({"L001", "L005", "L006", "C001"})
"""Rules that a missing stack may blind."""


def parse_dump(data: bytes, *, native: bool = False) -> tuple[Stack, ...]:
    """Parse the JSON of one dump; only one with ``native`` stacks has frames of C code in it.

    Raises ``MalformedError`` when it is not what py-spy 0.4 prints.
    """
    try:
        return tuple(_stack(thread, native=native) for thread in msgspec.json.decode(data))
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise MalformedError(f"py-spy's JSON is not in the known form: {error}") from error


def _stack(thread: dict[str, Any], *, native: bool) -> Stack:
    return Stack(
        pid=int(thread["pid"]),
        tid=thread["os_thread_id"],
        ident=int(thread["thread_id"]),
        thread=thread["thread_name"],
        frames=tuple(_frame(frame, native=native) for frame in thread["frames"]),
        owns_gil=bool(thread["owns_gil"]),
        active=bool(thread["active"]),
    )


def _frame(frame: dict[str, Any], *, native: bool) -> Frame:
    file = str(frame["filename"])
    return Frame(
        function=str(frame["name"]),
        file=file,
        line=int(frame["line"]),
        native=native and not file.endswith((".py", ".pyc", ".pyx", ">")) and frame.get("locals") is None,
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

    It is read without a stop first: threads that slept all the while can not be told otherwise by one.
    Only where others ran meanwhile, or for ``native`` stacks, ``pause`` stops the process for the few
    milliseconds of another dump, if ``may_pause`` allows it. A process that ends meanwhile has no
    stacks, and that is no gap.
    """
    spy = _Spy(host, process, patience)
    before = {} if native else threads.asleep(host, process.pid)
    answer = spy.first(_tries(host, process, pause=pause, native=native))
    if pause and not native and not isinstance(answer, str):
        answer = _look_at_runners(spy, answer, before)
    if not isinstance(answer, str):
        return answer
    if not _lives(host, process):
        return ()
    return Gap(
        source="py-spy",
        hides=f"Python stacks of pid {process.pid} ({process.name})",
        reason=answer,
        hint=_hint(host, process, answer),
        blinds=STACK_RULES,
    )


_UNSTOPPED = ["--locals", "--nonblocking"]
_LOOKS = 3
"""Looks without a stop until one meets all threads asleep; a poller sleeps most of the time."""


def _tries(host: Host, process: Process, *, pause: bool, native: bool) -> Iterator[list[str]]:
    """Yield py-spy's options of one look after the other; native stacks can not be had without a stop."""
    if native and pause and pausing.may_pause(host, process):
        yield ["--locals", "--native"]
    yield _UNSTOPPED
    yield _UNSTOPPED
    if pause and not native and pausing.may_pause(host, process):
        yield ["--locals"]


class _Spy(NamedTuple):
    """py-spy's looks at one process."""

    host: Host
    process: Process
    patience: Patience

    def first(self, tries: Iterable[list[str]]) -> tuple[Stack, ...] | str:
        """Look with these options until it works: the stacks, or what went wrong last."""
        trouble = _HANGS
        limit = self.patience.limit
        for options in tries if limit else ():
            answer = self.look(options, limit)
            if not isinstance(answer, str):
                return answer
            trouble = answer
            # A container's seccomp filter may forbid to stop a process, but not to read it (measured).
            if "EPERM" in trouble and "--nonblocking" not in options:
                continue
            late = trouble.startswith(_LATE)
            if late:
                self.patience.lose(limit)
                limit = min(limit, SHORT_PATIENCE)
            again = late and options == _UNSTOPPED  # it would be late again
            if again or is_denial(trouble) or _is_no_python(trouble) or not _lives(self.host, self.process):
                break
        return trouble

    def look(self, options: Sequence[str], limit: float) -> tuple[Stack, ...] | str:
        """Run py-spy once, for ``limit`` seconds: its stacks, or what went wrong in one line."""
        argv = ["py-spy", "dump", "--json", "--pid", str(self.process.pid), *options]
        try:
            done = self.host.run(argv, timeout=limit, redact=True)
        except OSError as error:
            return f"{_MISSING}: {error.strerror}"
        if done.timed_out:
            return f"{_LATE} {limit:g} s"
        if done.code != 0:
            return _reason(done.stderr.decode("utf-8", "replace"))
        try:
            stacks = parse_dump(done.stdout, native="--native" in options)
        except MalformedError as error:
            return str(error)
        return thread_ids.resolve(self.host, self.process, stacks)


def _look_at_runners(spy: _Spy, stacks: tuple[Stack, ...], before: Mapping[int, int]) -> tuple[Stack, ...]:
    """Look again at what may be torn: the stacks of threads that have run since ``before``.

    First without a stop, for most that run sleep in between; then with one. What two threads hold at one
    moment needs the locals of both from that stop. Those of a single one that stays in its place are known:
    without them the stop is shorter by a third (measured on 500 threads).
    """
    earlier = stacks
    for look in range(_LOOKS):
        after = threads.asleep(spy.host, spy.process.pid)
        slept = {tid for tid, times in before.items() if after.get(tid) == times}
        ran = [stack for stack in stacks if stack.tid not in slept]
        if not ran:
            return stacks
        if look + 1 < _LOOKS:
            again = spy.look(_UNSTOPPED, spy.patience.limit)
            if isinstance(again, str):
                break
            earlier, stacks, before = stacks, again, after
    if not pausing.may_pause(spy.host, spy.process):
        return stacks
    if len(ran) == 1 and _in_place(ran, earlier):
        stopped = spy.look([], spy.patience.limit)
        if not isinstance(stopped, str) and _in_place(stopped, stacks):
            known = {stack.ident: stack.frames for stack in stacks}
            return tuple(replace(stack, frames=known[stack.ident]) for stack in stopped)
    stopped = spy.look(["--locals"], spy.patience.limit)
    return stacks if isinstance(stopped, str) else stopped


def _in_place(some: Iterable[Stack], earlier: Iterable[Stack]) -> bool:
    """Whether all of ``some`` were earlier where they are now."""
    known = {stack.ident: [*map(_place, stack.frames)] for stack in earlier}
    return all(known.get(stack.ident) == [*map(_place, stack.frames)] for stack in some)


def _place(frame: Frame) -> tuple[str, str, int]:
    return frame.file, frame.function, frame.line


def is_at_a_loss(gap: Gap) -> bool:
    """Whether py-spy was there and allowed to look, and found no way through the interpreter's memory."""
    hangs = gap.reason.startswith((_LATE, _HANGS, _MISSING))
    return (
        gap.source == "py-spy" and not hangs and not is_denial(gap.reason) and not _is_no_python(gap.reason)
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


def _lives(host: Host, process: Process) -> bool:
    """Whether the same process still runs; its first thread may have ended before the others."""
    try:
        alone = len(host.names(f"/proc/{process.pid}/task")) == 1
    except OSError:
        return False
    ended = pausing.state(host, f"/proc/{process.pid}/stat") in "ZX"
    return started(host, process.pid) == process.started and not (ended and alone)


def is_denial(trouble: str) -> bool:
    """Whether py-spy was refused, rather than failed."""
    return "ermission" in trouble or "os error 1)" in trouble or "not permitted" in trouble


def _is_no_python(trouble: str) -> bool:
    return "not a python" in trouble.lower() or "find python version" in trouble


def _reason(stderr: str) -> str:
    """The root of py-spy's error chain: its last "Reason:" line, or its last line at all."""
    told = stderr.partition("Stack backtrace:")[0]  # printed where RUST_BACKTRACE is set
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    reasons = [line for line in lines if line.startswith("Reason:")]
    last = (reasons or lines or ["it failed without a word"])[-1]
    return last.removeprefix("Reason:").removeprefix("Error:").strip()


def _hint(host: Host, process: Process, trouble: str) -> str:
    if trouble.startswith(_MISSING):
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
