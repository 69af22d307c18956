"""Which one cause a core speaks for: each core has one, and each rule asks for its own. Pure."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from diag.model import signals
from diag.model.facts import Evidence
from diag.model.finding import Library
from diag.rules import core_code as code
from diag.rules import crash_causes, database_clients

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.model.core import CoreFault, CoreImage, Suspect
    from diag.model.damage import Freed
    from diag.model.facts import Frame, Local
    from diag.model.graph import Actor
    from diag.model.snapshot import SeenThread, Snapshot

LOW = 4096
REFERENCES = re.compile(
    r"GC object already tracked|deallocating None|negative ref ?count|refcount is too small|refcount error"
    r"|_PyObject_AssertFailed|_Py_NegativeRefcount|object at 0x[0-9a-f]+ is freed|object already tracked"
)
HEAP = re.compile(
    r"^(?:\w*free|\w*alloc\w*|munmap_chunk|malloc_consolidate|tcache_\w+)\(\): "
    r"|^double free or corruption|^corrupted (?:size|double-linked)|bad (?:ID|leading|trailing) "
)
_HASHES = re.compile(r"tuple_?hash\w*|\w+_repr|\w+_richcompare")
_TWICE = re.compile(r"double free|invalid pointer")
_COUNTS = re.compile(r"(?:add|sub|inc|dec) [dq]word ptr \[\w+\](?:, 1)?")
"""Py_INCREF and Py_DECREF: the count is the first field of every object."""
_COUNTING = re.compile(r"_?Py_X?(?:INC|DEC|NEW)REF")
"""The same, inlined into the code of an extension."""
_TYPE_AT = 8
"""Where in every object its type is: the address that fails where the object is NULL."""
SHOWN = 12
_SIGABRT = 6
_SIGSEGV = 11
LONGEST = 16
"""Bytes of an instruction, which may lie on two pages."""
HIGHEST = 1 << 47
"""The first address that no program has (x86-64, without five levels of page tables)."""


def cause(snapshot: Snapshot) -> str | None:
    """The code of the one cause; None where the process did not die of itself."""
    core, fault = snapshot.core, snapshot.fault
    if core is None or fault is None or signals.is_snapshot(core.signal):
        return None
    if _from_outside(core, fault):
        return None
    return next((name for name, test in _TESTS if test(snapshot, fault)), "C012")


def _from_outside(core: CoreImage, fault: CoreFault) -> bool:
    """Whether another process sent the signal: what the threads did then is no fault."""
    signal = core.signal
    return not fault.handler and signal.code <= 0 and signal.sender not in (None, 0, core.pid)


def _shared(snapshot: Snapshot, fault: CoreFault) -> bool:
    """It died in a database client, with a connection that other threads have, or may have had.

    The main thread of a program alone has nobody to share one with.
    """
    if not _in_client(code.frames_at_fault(snapshot)):
        return False
    is_main = snapshot.core is not None and fault.tid == snapshot.core.pid
    return bool(sharers(snapshot)) or not is_main


def sharers(snapshot: Snapshot) -> tuple[tuple[SeenThread, Local], ...]:
    """The other threads whose frames hold a connection or cursor that the dying thread's hold, with that."""
    dying = code.dying(snapshot)
    own = {local.address for local in _handles(dying)} if dying else set()
    found = []
    for seen in snapshot.threads:
        common = next((local for local in _handles(seen) if local.address in own), None)
        if seen is not dying and common:
            found.append((seen, common))
    return tuple(found)


def inside_too(snapshot: Snapshot) -> bool:
    """Whether one of those is inside the client at the same moment."""
    return any(_in_client(seen.stack.frames) for seen, _ in sharers(snapshot) if seen.stack)


def _in_client(frames: tuple[Frame, ...]) -> bool:
    return any(
        crash_causes.CLIENTS.match(code.base_name(frame.library)) for frame in frames[:16] if frame.native
    )


def _handles(seen: SeenThread) -> Iterator[Local]:
    for frame in seen.stack.frames if seen.stack else ():
        for local in frame.locals:
            if local.type_name and database_clients.handle_kind(local.type_name):
                yield local


def _references(snapshot: Snapshot, fault: CoreFault) -> bool:
    frames = code.frames_at_fault(snapshot)
    if fault.lockless and fault.address is not None and fault.address < LOW:
        return False  # its state of the thread is NULL: whatever it does fails
    if wrong_header(frames, fault) or any(REFERENCES.search(text) for _, text in said(snapshot)):
        return True
    if any(_TWICE.search(text) for _, text in said(snapshot)):
        return code.interpreter_called_allocator(frames)
    if fault.overflowed:
        return _hashes_for_ever(frames)
    return code.in_object_work(frames) or _counts_nowhere(frames, fault) or _of_damage(snapshot, fault)


def _of_damage(snapshot: Snapshot, fault: CoreFault) -> bool:
    """Whether the interpreter died by itself where objects are damaged: abort() is called."""
    frames = [frame for frame in code.frames_at_fault(snapshot) if frame.address != fault.pc or fault.code]
    return bool(freed(snapshot)) and fault.signal != _SIGABRT and _minds_objects(frames)


def _minds_objects(frames: Sequence[Frame]) -> bool:
    """Whether the interpreter's own code died, or what counts references inside of an extension."""
    counts = bool(frames) and bool(_COUNTING.fullmatch(frames[0].function))
    return counts or code.is_interpreters_work(frames)


def freed(snapshot: Snapshot) -> tuple[Freed, ...]:
    """What shows that objects were freed while somebody had them, or twice."""
    return snapshot.damage.freed if snapshot.damage else ()


OF_DAMAGE = frozenset({"C002", "C003", "C005", "C006", "C012"})
"""Causes that objects freed too early may lie behind, or be."""


def is_open(snapshot: Snapshot, fault: CoreFault) -> bool:
    """Whether all that memory tells of damaged objects may decide: the interpreter died of what is open."""
    if fault.signal == _SIGABRT or proven(snapshot, fault):
        return False
    return _minds_objects(code.frames_at_fault(snapshot)) or _jump(snapshot, fault)


def proven(snapshot: Snapshot, fault: CoreFault) -> bool:
    """Whether the interpreter tells of a wrong count, or was at work on an object that cannot be one."""
    if any(REFERENCES.search(text) for _, text in said(snapshot)):
        return True
    at_work = code.in_object_work(code.frames_at_fault(snapshot))
    return fault.bad_object is not None and (at_work or any(one.proves for one in freed(snapshot)))


def _counts_nowhere(frames: tuple[Frame, ...], fault: CoreFault) -> bool:
    """Whether the loop that runs Python code counted a reference, or asked for a type, where no object is.

    No Python code can make it do so; where C code had been called, that may have handed out the address.
    """
    if not code.is_interpreter_file(fault.library or ""):
        return False
    inner = next((frame for frame in frames if frame.address != fault.pc or code.runs_python(frame)), None)
    if inner is None or not code.runs_python(inner):
        return False
    return fault.address == _TYPE_AT or bool(_COUNTS.fullmatch(fault.instruction))


def wrong_header(frames: tuple[Frame, ...], fault: CoreFault) -> bool:
    """Whether the interpreter itself stumbled over an object whose header cannot be true.

    In an extension's own code any structure may look like such an object; and a type that is NULL means
    something only where objects are counted or visited, or where the code had just read it as a type. A frame
    of Python stands for the loop that runs it.
    """
    bad = fault.bad_object
    inner = [frame for frame in frames if frame.address != fault.pc or "x" in fault.code]
    if bad is None or not inner or not (code.is_interpreter(inner[0]) or not inner[0].native):
        return False
    return bad.type_address >= LOW or bad.used_as_type or code.in_object_work(frames)


def _hashes_for_ever(frames: tuple[Frame, ...]) -> bool:
    """Whether an object that contains itself, which no program can make, was hashed or compared.

    A tuple is made before what it holds: it cannot hold itself, unless it was freed and used again.
    """
    inner = [frame for frame in frames[:60] if frame.native]
    same = sum(bool(re.fullmatch(r"tuple_?hash\w*", frame.function.partition(".")[0])) for frame in inner)
    return len(inner) > 20 and same > len(inner) // 3


def _overflow(snapshot: Snapshot, fault: CoreFault) -> bool:
    del snapshot
    return fault.overflowed


def _heap(snapshot: Snapshot, fault: CoreFault) -> bool:
    del fault
    return any(HEAP.search(text) for _, text in said(snapshot)) or code.in_allocator(
        code.frames_at_fault(snapshot)
    )


def _jump(snapshot: Snapshot, fault: CoreFault) -> bool:
    del snapshot
    if not fault.seen or fault.signal != _SIGSEGV or "x" in fault.code:
        return False
    # The kernel gives the address that could not be fetched; else the mappings are incomplete. An address
    # beyond all programs' is not given, but 0.
    fetched = fault.address is None or 0 <= fault.address - fault.pc < LONGEST
    return fetched or fault.pc >= HIGHEST


def _null(snapshot: Snapshot, fault: CoreFault) -> bool:
    del snapshot
    # Where the instruction is not known, it may have been a call just as well.
    if not fault.seen or fault.address is None:
        return False
    return fault.signal == _SIGSEGV and fault.address < LOW


def _instruction(snapshot: Snapshot, fault: CoreFault) -> bool:
    del snapshot
    return fault.signal in (4, 7, 8)


_TESTS = (
    ("C001", _shared),
    ("C002", _references),
    ("C004", _overflow),
    ("C006", _heap),
    ("C005", _jump),
    ("C003", _null),
    ("C011", _instruction),
)
"""The more telling first: what a wild object does to the interpreter may look like any of the others."""


def said(snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    """The last words of the process, from its memory and from its service's log, with where they stand."""
    own = snapshot.fault.said if snapshot.fault else ()
    return (*own, *((str(line.at), line.text) for log in snapshot.worker_logs for line in log.words))


def of_logs(snapshot: Snapshot) -> Iterator[Evidence]:
    """What services' logs tell of the process: its start, its last lines, its end."""
    for log in snapshot.worker_logs:
        for line in (log.began, *log.last, *log.words, log.death):
            if line:
                yield Evidence(source=str(line.at), text=line.text)


def evidence(snapshot: Snapshot) -> Iterator[Evidence]:
    """Yield the raw facts of the fault: last words, signal, the object's header, the instruction."""
    core, fault = snapshot.core, snapshot.fault
    assert core is not None
    assert fault is not None
    where = f"{core.path}, thread {fault.tid}"
    for source, text in fault.said:
        yield Evidence(source=f"{core.path}, {source}", text=text)
    yield Evidence(source=f"{where}: signal", text=_signal(core, fault))
    bad = fault.bad_object
    if bad and wrong_header(code.frames_at_fault(snapshot), fault):
        yield Evidence(
            source=f"{where}: memory at {bad.address:#x} ({bad.register})",
            text=f"object header: count {bad.count:#x}, type {bad.type_address:#x}: {bad.why}",
        )
    for one in freed(snapshot):
        yield Evidence(source=f"{core.path}, {one.where}", text=f"{one.address:#x}: {one.text}")
    if fault.instruction and fault.signal != _SIGABRT:  # which is sent: no instruction is at fault
        text = "; ".join((fault.instruction, *fault.words))
        yield Evidence(source=f"{where}: instruction at {fault.pc:#x}", text=text)


def innermost(snapshot: Snapshot) -> Iterator[Evidence]:
    """Yield the frames of the thread that died, from its fault outwards."""
    core, fault = snapshot.core, snapshot.fault
    if core and fault:
        yield from frames(core, fault.tid, code.frames_at_fault(snapshot))


def frames(core: CoreImage, tid: int, found: tuple[Frame, ...]) -> Iterator[Evidence]:
    """Yield the innermost frames of a thread, a line each."""
    for number, frame in enumerate(found[:SHOWN]):
        yield Evidence(source=f"{core.path}, thread {tid}: frame {number}", text=frame_words(frame))


def _signal(core: CoreImage, fault: CoreFault) -> str:
    if fault.handler:
        address = f", address {fault.address:#x}" if fault.address is not None else ""
        return f"{signals.name(fault.signal)}{address}, caught by a handler of the process itself"
    address = f", address {fault.address:#x}" if fault.address is not None else ""
    return f"{signals.cause(core.signal, core.pid)}{address} ({signals.code_name(core.signal)})"


def frame_words(frame: Frame) -> str:
    """One frame in a line: ``visit_decref (Modules/gcmodule.c:465) in libpython3.12.so.1.0``."""
    place = f" ({frame.file}:{frame.line})" if frame.line else ""
    library = f" in {code.base_name(frame.library)}" if frame.library else ""
    return f"{frame.function}{place}{library}"


def where(snapshot: Snapshot) -> str:
    """Name the place of the fault: the innermost frame that has a name, with the Python line around it."""
    frames = code.frames_at_fault(snapshot)
    named = next((frame for frame in frames if frame.function != "?"), None)
    python = next((frame for frame in frames if not frame.native), None)
    first = frames[0] if frames else None
    if first and first.library and first is not named and (named is None or named.library != first.library):
        place = f"a function without a name in {code.base_name(first.library)}"
    else:
        place = frame_words(named) if named else "an unknown place"
    if python is None or python is named:
        return place
    return f"{place}, below {python.function} ({python.file.rpartition('/')[2]}:{python.line})"


def who(snapshot: Snapshot) -> str:
    """Name the process and its thread: ``pid 12 (python, thread poller)``."""
    core, fault, seen = snapshot.core, snapshot.fault, code.dying(snapshot)
    assert core is not None
    name = (seen.stack and seen.stack.thread) if seen else None
    alone = len(core.threads) == 1
    thread = f", thread {name or fault.tid}" if fault and not alone else ""
    return f"pid {core.pid} ({core.name or 'unnamed'}{thread})"


def victim(snapshot: Snapshot) -> tuple[Actor, ...]:
    """The thread that died."""
    seen = code.dying(snapshot)
    return (seen.wait.waiter,) if seen and seen.wait else ()


def culprit(snapshot: Snapshot) -> Library | None:
    """The code that faulted itself: the innermost frame outside of the C library."""
    fault = snapshot.fault
    for frame in code.frames_at_fault(snapshot):
        if frame.native and code.is_extension(frame.library):
            symbol = None if frame.function == "?" else frame.function
            offset = fault.offset if fault and frame.address == fault.pc else None
            return Library(library=code.base_name(frame.library), symbol=symbol, offset=offset)
    if fault and fault.library and not code.is_system(fault.library):
        return Library(library=code.base_name(fault.library), offset=fault.offset)
    return None


def suspects(snapshot: Snapshot) -> tuple[Evidence, ...]:
    """The ranked suspects as evidence, the likeliest first."""
    core = snapshot.core
    assert core is not None
    return tuple(
        Evidence(
            source=f"{core.path}, suspect {number}",
            text=f"{one.library}{_at(one)}: {'; '.join(one.why)}",
        )
        for number, one in enumerate(snapshot.suspects[:SHOWN], 1)
    )


def _at(one: Suspect) -> str:
    return f" ({one.function}, thread {one.tid})" if one.function else ""


def program(core: CoreImage) -> str:
    """The command line to start it again, as far as the core has it."""
    return shlex.join(core.arguments) or core.executable or "PROGRAM"
