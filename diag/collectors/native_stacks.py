"""The C frames of every thread of a core: by diag itself, by pystack where it runs Python, else by gdb.

These two run as children within limits (``host/core/limited.py``). What they print is parsed, not trusted.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from diag.collectors import own_stacks
from diag.collectors.native_names import Names
from diag.model import signals
from diag.model.facts import Frame, Gap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Executor

    from diag.host import CoreView
    from diag.model.core import CoreImage, CoreModule

PATIENCE = 60.0
"""Seconds a tool may take; measured: pystack 0.15 s and gdb 0.4 s on a core of 12 MB, 500 threads 3 s."""
MOST_FRAMES = 400
"""Frames kept of each end of a thread's stack: a runaway recursion has a hundred thousand."""
MOST_THREADS = 1000
MANY = 64
"""Threads of which other programs take longer than to look up what was inlined into the frames that count."""
MOST_PLACES = 40
SIGNAL_FRAMES = frozenset({"<signal handler called>", "__restore_rt", "__kernel_rt_sigreturn"})
"""How the frame that the kernel made to call a signal handler is named."""

_INTERPRETER = re.compile(r"libpython\d[^/]*$|/(?:python|pypy)[\d.]*[a-z]*$")
_RULES = frozenset({"C001", "C002", "C004", "C005", "C006", "C010"})
_SHORT = 6
_OUTERMOST = frozenset({"_start", "__clone3", "clone3", "clone", "__clone", "start_thread"})
_FRAME = re.compile(r'frame=\{((?:[\w-]+="(?:[^"\\]|\\.)*",?)*)\}')
_FIELD = re.compile(r'([\w-]+)="((?:[^"\\]|\\.)*)"')
_THREAD = re.compile(r'\{id="(\d+)",target-id="(?:[^"\\]|\\.)*?(?:LWP |process )(\d+)')
_ESCAPE = re.compile(r"\\([0-7]{3}|.)")


class Natives(NamedTuple):
    """The C frames of all threads, innermost first, and who had the interpreter lock."""

    frames: dict[int, tuple[Frame, ...]]
    gil: int | None  # thread id; None: nobody, or whoever read the frames does not tell
    gaps: tuple[Gap, ...]


def begin(
    view: CoreView, image: CoreImage, tells: Callable[[Sequence[Frame]], bool]
) -> Callable[[], Natives]:
    """Begin to read the frames; what is returned waits for them.

    The functions diag finds itself, in a tenth of the time. Of a process that died, what was inlined into the
    interpreter's counts too, unless ``tells`` says of a stack that its functions alone tell enough: where its
    file has that, other programs are asked beside everything else.
    """
    files = _Files(image.modules)
    died = image.inlined and not signals.is_snapshot(image.signal)
    many = len(image.threads) > MANY
    closely = died and not image.jumped  # of a jump to where no code is, only who made it counts
    if (many or not closely) and (own := own_stacks.collect(view, image, files.at, closely=closely)):
        kept = {tid: _kept(frames) for tid, frames in own.items()}
        return lambda: Natives(kept, None, ())
    if closely and (own := own_stacks.collect(view, image, files.at, lines=False)):
        kept = {tid: _kept(frames) for tid, frames in own.items()}
        if tells(_of_death(image, kept)):
            return lambda: Natives(kept, None, ())
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - loads only when used

    pool = ThreadPoolExecutor(max_workers=3)
    asked = pool.submit(_ask, view, image, files, pool)

    def wait() -> Natives:
        with pool:
            return asked.result()

    return wait


def _of_death(image: CoreImage, stacks: dict[int, tuple[Frame, ...]]) -> tuple[Frame, ...]:
    """The stack of the thread that died: one with the frame of a handler, or the first."""
    handled = (one for one in stacks.values() if any(frame.function in SIGNAL_FRAMES for frame in one))
    return next(handled, stacks.get(image.threads[0].tid, ())) if image.threads else ()


def _ask(view: CoreView, image: CoreImage, files: _Files, pool: Executor) -> Natives:
    """Ask pystack where the process runs Python; gdb for what it cannot unwind, at once if clear."""
    python = any(_INTERPRETER.search(module.path) for module in image.modules)
    first = pool.submit(_pystack, view, files) if python else None
    second = pool.submit(_gdb, view, image, files) if image.jumped or not python else None
    answer = first.result() if first else "the process runs no Python"
    frames, gil = ({}, None) if isinstance(answer, str) else answer
    if not second and (len(frames) < len(image.threads) or any(map(_is_short, frames.values()))):
        second = pool.submit(_gdb, view, image, files)
    other = second.result() if second else {}
    if isinstance(other, str):
        gaps = () if frames else (_gap(image, f"pystack: {answer}; gdb: {other}"),)
        return Natives(_named(view, image, frames), gil, gaps)
    for tid, found in other.items():
        if tid not in frames or (_is_short(frames[tid]) and len(found) > len(frames[tid])):
            frames[tid] = found
    return Natives(_named(view, image, frames), gil, ())


def _named(
    view: CoreView, image: CoreImage, frames: dict[int, tuple[Frame, ...]]
) -> dict[int, tuple[Frame, ...]]:
    names = Names.of(view, image)
    return {tid: names.all_named(found) for tid, found in frames.items()}


def _is_short(frames: Sequence[Frame]) -> bool:
    """Whether unwinding stopped early, as from a jump to where no code is, or in code without tables."""
    return len(frames) < 2 or (len(frames) < _SHORT and frames[-1].function not in _OUTERMOST)


def _gap(image: CoreImage, reason: str) -> Gap:
    return Gap(
        source="pystack, gdb",
        hides=f"C frames of the threads of process {image.pid}",
        reason=reason,
        hint="install gdb where diag runs, and bring the program of the core: diag core CORE --exe PROGRAM",
        blinds=_RULES,
    )


class _Files:
    """Names the file an address lies in."""

    def __init__(self, modules: Iterable[CoreModule]) -> None:
        self._modules = sorted(modules, key=lambda module: module.start)
        self._starts = [module.start for module in self._modules]

    def at(self, address: int) -> str | None:
        at = bisect_right(self._starts, address) - 1
        while at >= 0 and at > bisect_right(self._starts, address) - 4:  # mappings of two files may interlock
            if self._modules[at].start <= address < self._modules[at].end:
                return self._modules[at].path
            at -= 1
        return None


def _frame(files: _Files, function: str, source: str, line: int, address: int) -> Frame:
    library = files.at(address)
    return Frame(
        function=function.removesuffix(" (inlined)") if function != "???" else "?",
        file=source if source and source != "???" else library or "",
        line=line if 0 <= line < 1 << 24 else 0,
        native=True,
        library=library,
        address=address,
    )


def _kept(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    if len(frames) <= 2 * MOST_FRAMES:
        return tuple(frames)
    return (*frames[:MOST_FRAMES], *frames[-MOST_FRAMES:])


def _pystack(view: CoreView, files: _Files) -> tuple[dict[int, tuple[Frame, ...]], int | None] | str:
    """Run pystack; what went wrong in a line."""
    try:
        done = view.run(["{limited}", "pystack", "{core}", "{program}"], timeout=PATIENCE)
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    if done.timed_out:
        return f"no answer within {PATIENCE:g} s"
    if done.code != 0:
        lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines and done.code > 0 else f"it died of signal {-done.code}"
    try:
        threads = msgspec.json.decode(done.stdout)
        frames = {
            int(one["tid"]): _kept([_frame(files, f[0], f[1], int(f[2]), int(f[4])) for f in one["frames"]])
            for one in threads
        }
        return frames, next((int(one["tid"]) for one in threads if one["gil"]), None)
    except (msgspec.DecodeError, KeyError, IndexError, TypeError, ValueError) as error:
        return f"its answer is not in the known form: {error}"


def _gdb(view: CoreView, image: CoreImage, files: _Files) -> dict[int, tuple[Frame, ...]] | str:
    """Run gdb with its machine interface; what went wrong in a line."""
    count = min(len(image.threads), MOST_THREADS)
    ask = [
        f'interpreter-exec mi "-stack-list-frames --thread {n} 0 {MOST_FRAMES - 1}"'
        for n in range(1, count + 1)
    ]
    argv = ["{limited}", "exec", "gdb", "-nx", "-batch"]
    places = dict.fromkeys(one.path.rpartition("/")[0] for one in image.modules if one.executable)
    path = ":".join(f"{{root}}{place}" for place in list(places)[:MOST_PLACES] if place.startswith("/"))
    for word in (
        "set auto-load off",
        "set debuginfod enabled off",
        "set sysroot {root}",
        f"set solib-search-path {path}",  # a library that was found by a relative path
    ):
        argv += ["-iex", word]
    for word in ('interpreter-exec mi "-thread-info"', *ask):
        argv += ["-ex", word]
    try:
        done = view.run([*argv, "{program}", "{core}"], timeout=PATIENCE)
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    if done.timed_out:
        return f"no answer within {PATIENCE:g} s"
    found = parse_gdb(done.stdout.decode("utf-8", "replace"), files.at)
    if not found:
        lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else f"no threads (exit status {done.code})"
    return found


def parse_gdb(text: str, library: Any = lambda _: None) -> dict[int, tuple[Frame, ...]]:
    """Parse the answers to -thread-info and to one -stack-list-frames a thread, in order of their numbers."""
    numbers: dict[int, int] = {}
    stacks: list[tuple[Frame, ...]] = []
    for line in text.splitlines():
        if line.startswith("^done,threads="):
            numbers = {int(n): int(tid) for n, tid in _THREAD.findall(line)}
        elif line.startswith("^done,stack="):
            stacks.append(tuple(_gdb_frame(fields, library) for fields in _FRAME.findall(line)))
        elif line.startswith("^error") and numbers:
            stacks.append(())
    return {numbers[n]: stack for n, stack in enumerate(stacks, 1) if n in numbers and stack}


def _gdb_frame(text: str, library: Any) -> Frame:
    fields = {name: _unquoted(value) for name, value in _FIELD.findall(text)}
    address = (
        int(fields.get("addr", "0"), 16) if re.fullmatch(r"0x[0-9a-f]{1,16}", fields.get("addr", "")) else 0
    )
    line = fields.get("line", "0")
    path = library(address)
    return Frame(
        function=fields.get("func", "?").replace("??", "?"),
        file=fields.get("file") or path or fields.get("from", ""),
        line=int(line) if line.isdigit() and len(line) < 8 else 0,
        native=True,
        library=path,
        address=address,
    )


def _unquoted(text: str) -> str:
    """Undo the escapes of a C string."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)) if len(found[1]) == 3 else found[1], text)


_EVAL = re.compile(r"_?PyEval_EvalFrame(?:Default|Ex)(?:\.\w+)*")


def merge(native: Sequence[Frame], python: Sequence[Frame]) -> tuple[Frame, ...]:
    """Put the Python frames where the interpreter's own loop stands among the C frames.

    One loop runs a frame that C called and all that this one calls in turn (3.11 and later). Where the
    two do not fit together, C frames down to the first loop come first, then all Python frames.
    """
    loops = [n for n, frame in enumerate(native) if _EVAL.fullmatch(frame.function)]
    entries = [n for n, frame in enumerate(python) if frame.entry]
    if not loops or not python:
        return (*native, *python)
    if len(loops) != len(entries):
        return (*native[: loops[0]], *python)
    out: list[Frame] = []
    done = 0
    for number, frame in enumerate(native):
        if number in loops:
            end = entries[loops.index(number)] + 1
            out.extend(python[done:end])
            done = end
        else:
            out.append(frame)
    return (*out, *python[done:])
