"""The findings of a core about the crash itself: one cause, told with the core's own evidence. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from diag.model.finding import Confidence, Finding, Library, Severity
from diag.rules import core_causes as causes
from diag.rules import core_code as code
from diag.rules import over_releases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diag.model.core import CoreFault, CoreImage
    from diag.model.snapshot import Snapshot


class Told(NamedTuple):
    """What one cause comes to."""

    summary: str
    confidence: Confidence
    culprit: Library | None
    against: tuple[str, ...] = ()
    remedy: tuple[str, ...] = ()
    check: tuple[str, ...] = ()
    suspects: bool = False  # whether others than the code that died come into question


def of(snapshot: Snapshot, rule: str, slug: str) -> Iterator[Finding]:
    """Yield the finding of one rule, where the core speaks for its cause."""
    core, fault = snapshot.core, snapshot.fault
    if core is None or fault is None or causes.cause(snapshot) != rule:
        return
    told = _TELL[rule](snapshot, core, fault)
    damaged = causes.freed(snapshot) if rule != _TELLING else ()
    if damaged:
        told = told._replace(against=(*told.against, _DAMAGED), suspects=True)
    hidden = next((gap for gap in snapshot.gaps if _TELLING in gap.blinds), None)
    if hidden and rule != _TELLING:
        told = told._replace(
            confidence=Confidence.LIKELY if told.confidence is Confidence.CERTAIN else told.confidence,
            against=(*told.against, f"another cause may lie behind it: {hidden.hides} could not be seen"),
        )
    yield Finding(
        code=rule,
        slug=slug,
        summary=f"{causes.who(snapshot)}{_worker(snapshot)} {told.summary}",
        severity=Severity.CRITICAL,
        confidence=told.confidence,
        culprit=told.culprit,
        victims=causes.victim(snapshot),
        evidence=(
            *causes.evidence(snapshot),
            *(causes.suspects(snapshot) if told.suspects else ()),
            *causes.of_logs(snapshot),
            *causes.innermost(snapshot),
        ),
        against=told.against,
        remedy=told.remedy,
        check=told.check,
    )


_TELLING = "C002"
"""What looks like any other fault where the interpreter and its objects cannot be read."""


_DAMAGED = "objects had been freed while somebody had them: what died may be the victim of that (C002)"


def _worker(snapshot: Snapshot) -> str:
    """Name it as its service does: `` , worker 1``."""
    name = next((log.worker for log in snapshot.worker_logs if log.worker), None)
    return f", worker {name}," if name else ""


def _suspect(snapshot: Snapshot) -> Library | None:
    """The first suspect, where no other one comes into question, or a fault of its own is known.

    Of several the one that was at work need not be the one that did it: the list tells who comes first.
    """
    ranked = snapshot.suspects
    if not ranked or ranked[0].score < _ENOUGH:
        return None
    if any(one.score > 0 for one in ranked[1:]) and not any(over_releases.known_of(snapshot, ranked[0])):
        return None
    return Library(library=code.base_name(ranked[0].library), symbol=ranked[0].function or None)


_ENOUGH = 4


def _names(snapshot: Snapshot) -> str:
    """The first suspects in words: ``; look first at jobqueue.so (spool), then at _lxml.so``."""
    if not snapshot.core or not any(code.is_interpreter_file(one.path) for one in snapshot.core.modules):
        return ""
    likely = [one for one in snapshot.suspects if one.score > 0][:3]
    if not likely:
        return "; no third-party extension was on any stack"
    names = [code.base_name(one.library) + (f" ({one.function})" if one.function else "") for one in likely]
    return f"; look first at {', then at '.join(names)}"


def _references(snapshot: Snapshot, core: CoreImage, fault: CoreFault) -> Told:
    said = next((text for _, text in causes.said(snapshot) if causes.REFERENCES.search(text)), None)
    if said:
        what = f"stopped: {said!r}"
    elif twice := next((text for _, text in causes.said(snapshot) if causes.HEAP.search(text)), None):
        what = f"freed an object's memory that was free already ({twice})"
    elif fault.bad_object and causes.wrong_header(code.frames_at_fault(snapshot), fault):
        what = f"met an object whose header cannot be true ({fault.bad_object.why})"
    elif freed := causes.freed(snapshot):
        what = f"died where an object had been freed too early ({freed[0].where}: {freed[0].text})"
    else:
        what = "died while the interpreter made, freed or visited an object"
    proven = causes.proven(snapshot, fault)
    return Told(
        summary=f"{what}, in {causes.where(snapshot)}: a C extension releases references it does not own, or "
        f"writes where it should not; the interpreter is the victim{_names(snapshot)}",
        confidence=Confidence.CERTAIN if proven else Confidence.LIKELY,
        culprit=_suspect(snapshot),
        against=(
            "which extension it was is inferred from where the threads stood: the damage was done before",
            *(() if proven else (_doubt(snapshot, fault),)),
        ),
        remedy=(
            *over_releases.known(snapshot),
            "now: update the suspects; until then keep them out of processes with a second thread: without "
            "one, most of these have no effect",
            "in the code of a suspect: compare each Py_DECREF with the documentation, for borrowed "
            "references (PyList_GetItem, PyTuple_GetItem, PyDict_GetItem), most of all where the interpreter "
            "lock is let go of in between (Py_BEGIN_ALLOW_THREADS)",
        ),
        check=tuple(over_releases.prove(snapshot, core)),
        suspects=True,
    )


def _doubt(snapshot: Snapshot, fault: CoreFault) -> str:
    if causes.freed(snapshot):
        return "that it died of this damage is inferred: other damage may lie behind it"
    if fault.bad_object:
        return "what overwrites an object in use looks the same"
    return "no object header that cannot be true was found: other damage may look like it"


def _heap(snapshot: Snapshot, core: CoreImage, fault: CoreFault) -> Told:
    del fault
    said = next((text for _, text in causes.said(snapshot) if causes.HEAP.search(text)), None)
    what = f"was stopped by the C library ({said})" if said else "died in the allocator"
    return Told(
        summary=f"{what}, in {causes.where(snapshot)}: its heap was damaged earlier, by other code; "
        f"the allocator is the victim{_names(snapshot)}",
        confidence=Confidence.CERTAIN if said else Confidence.LIKELY,
        culprit=causes.culprit(snapshot),
        against=("the code that freed last need not be the code that did the damage",),
        remedy=(
            "now: update the libraries that the frames and the suspects name",
            "in the code: look for memory freed twice or written after it was freed or past its end",
        ),
        check=(
            f"valgrind {causes.program(core)}",
            f"MALLOC_CHECK_=3 LD_PRELOAD=libc_malloc_debug.so.0 {causes.program(core)}   (dies sooner)",
        ),
        suspects=True,
    )


def _overflow(snapshot: Snapshot, core: CoreImage, fault: CoreFault) -> Told:
    size = f" of {(fault.stack[1] - fault.stack[0]) >> 10} KiB" if fault.stack else ""
    main = fault.tid == core.pid
    limit = "ulimit -s" if main else "threading.stack_size() or pthread_attr_setstacksize()"
    again = _repeated(snapshot)
    return Told(
        summary=f"used up its stack{size} in {causes.where(snapshot)}{again}",
        confidence=Confidence.CERTAIN,
        culprit=causes.culprit(snapshot),
        remedy=(
            f"now: give the thread a larger stack ({limit}); it only helps where the depth has a bound",
            "in the code: end the recursion, or take large arrays off the stack; a raised "
            "sys.setrecursionlimit() makes Python run into this instead of a RecursionError",
        ),
    )


def _repeated(snapshot: Snapshot) -> str:
    """Say which functions call each other over and over."""
    frames = code.frames_at_fault(snapshot)
    counts: dict[str, int] = {}
    for frame in frames:
        name = (
            frame.function
            if frame.native
            else f"{frame.function} ({frame.file.rpartition('/')[2]}:{frame.line})"
        )
        counts[name] = counts.get(name, 0) + 1
    often = [
        name
        for name, count in sorted(counts.items(), key=lambda item: -item[1])
        if count > 10 and name != "?"
    ]
    return f": {', '.join(often[:3])} again and again" if often else ""


def _jump(snapshot: Snapshot, core: CoreImage, fault: CoreFault) -> Told:
    del core
    if fault.pc == 0:
        target = "NULL, through a function pointer that was never set"
    elif fault.pc < causes.LOW:
        target = f"{fault.pc:#x}, through a function pointer read from NULL"
    elif fault.code:
        place = f" of {code.base_name(fault.library)}" if fault.library else ""
        target = f"{fault.pc:#x}, which holds data{place} and must not be executed"
    else:
        target = f"{fault.pc:#x}, where nothing is mapped"
    frames = [frame for frame in code.frames_at_fault(snapshot) if frame.address != fault.pc]
    caller = causes.frame_words(frames[0]) if frames else "unknown code"
    return Told(
        summary=f"jumped to {target}; called from {caller}",
        confidence=Confidence.CERTAIN,
        culprit=causes.culprit(snapshot),
        remedy=(
            "now: check that all parts fit each other: a plug-in or extension built for another version of "
            "its library has NULL function pointers (ldd -r on the extension)",
            "in the code: a callback freed while C still calls it, an object used after it was freed, a "
            "library unloaded too early, or a return address overwritten",
        ),
        suspects=True,
    )


def _without_lock(fault: CoreFault) -> str:
    """Say of a thread that ran the interpreter's code without having its lock that it did."""
    return (
        "; its thread did not have the interpreter lock (GIL), without which Python's C interface may not "
        "be called"
        if fault.lockless
        else ""
    )


_TAKE_IT = (
    "in the code: whoever called Python there must take the lock before (PyGILState_Ensure, "
    "PyEval_RestoreThread), or not let go of it around the call; a function of Python's C interface is "
    "called through ctypes.PyDLL, never CDLL"
)


def _null(snapshot: Snapshot, core: CoreImage, fault: CoreFault) -> Told:
    del core
    return Told(
        summary=f"used a NULL pointer (offset {fault.address or 0:#x}) in {causes.where(snapshot)}"
        f"{'; ' + '; '.join(fault.words) if fault.words else ''}{_without_lock(fault)}",
        confidence=Confidence.CERTAIN,
        culprit=causes.culprit(snapshot),
        remedy=(_TAKE_IT,)
        if fault.lockless
        else ("in the code: check the pointer where it comes from: what it is for failed, or was closed",),
    )


def _instruction(snapshot: Snapshot, core: CoreImage, fault: CoreFault) -> Told:
    del core
    what = {
        4: "met an instruction that this processor does not know",
        7: "touched mapped memory that has nothing behind it (a file cut short, an address not aligned)",
        8: "divided an integer by zero",
    }[fault.signal]
    detail = f": {fault.instruction}" if fault.instruction else ""
    return Told(
        summary=f"{what} in {causes.where(snapshot)}{detail}",
        confidence=Confidence.CERTAIN,
        culprit=causes.culprit(snapshot),
        remedy=(
            "now: SIGILL: use a build made for this processor; SIGBUS: see who cuts the file short, and if "
            "the disk or /dev/shm is full; SIGFPE: check the input that leads there",
        ),
    )


def _shared(snapshot: Snapshot, core: CoreImage, fault: CoreFault) -> Told:
    del core, fault
    inside = causes.inside_too(snapshot)
    others = _sharers(snapshot)
    confidence = Confidence.CERTAIN if inside else Confidence.LIKELY
    return Told(
        summary=f"died in the database client, in {causes.where(snapshot)}"
        f"{others or ', not in the main thread: threads may have shared a connection'}",
        confidence=confidence if others else Confidence.POSSIBLE,
        culprit=causes.culprit(snapshot),
        against=() if inside else (_NOT_NOW if others else _NOBODY),
        remedy=(
            "now: run the workers with one thread each, or let only one thread query",
            "in the code: open a connection per thread (threading.local, or a pool that lends one to one "
            "thread at a time); never hand a connection or cursor to another thread",
        ),
    )


_NOT_NOW = ("the other threads were not inside the client at that very moment",)
_NOBODY = ("no other thread has its connection now: who shared it may have ended, or nobody did",)


def _sharers(snapshot: Snapshot) -> str:
    """Name who has the same connection; "" where nobody has."""
    others = causes.sharers(snapshot)
    if not others:
        return ""
    seen, handle = others[0]
    name = (seen.stack and seen.stack.thread) or f"thread {seen.thread.tid}"
    who = f"{name} and {len(others) - 1} more" if len(others) > 1 else name
    return f", with {handle.value} in use, which {who} had too: only one thread at a time may"


def _unknown(snapshot: Snapshot, core: CoreImage, fault: CoreFault) -> Told:
    del core
    accessed = f" ({fault.instruction}; {'; '.join(fault.words)})" if fault.words else ""
    said = f": {fault.said[0][1]!r}" if fault.said else ""
    if code.is_uncaught(snapshot):
        said = f", where a C++ exception was thrown that nobody caught{said}"
    return Told(
        summary=f"died in {causes.where(snapshot)}{accessed}{said}{_without_lock(fault)}",
        confidence=Confidence.CERTAIN,
        culprit=causes.culprit(snapshot),
        against=("why is not known: no pattern that diag knows fits",),
        remedy=(_TAKE_IT,)
        if fault.lockless
        else ("look at the frames of the thread that died: begin with the innermost one of your own code",),
        suspects=True,
    )


_TELL: dict[str, Callable[[Snapshot, CoreImage, CoreFault], Told]] = {
    "C001": _shared,
    "C002": _references,
    "C003": _null,
    "C004": _overflow,
    "C005": _jump,
    "C006": _heap,
    "C011": _instruction,
    "C012": _unknown,
}
