"""How to make sure of an over-release, and whose are known. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diag.rules import core_causes, core_code
from diag.rules.known import extensions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.core import CoreImage, Suspect
    from diag.model.snapshot import Snapshot
    from diag.rules.known.extensions import Faulty


def known(snapshot: Snapshot) -> Iterator[str]:
    """Yield what is known of the suspects' own faults, where version and facts fit."""
    for one in snapshot.suspects:
        yield from known_of(snapshot, one)


def known_of(snapshot: Snapshot, one: Suspect) -> Iterator[str]:
    """Yield what is known of one suspect's own faults, where version and facts fit."""
    use = snapshot.damage.use(one.library) if snapshot.damage else None
    version = use.version if use else ""
    for entry in extensions.ENTRIES if version else ():
        fits = re.fullmatch(entry.told.library, core_code.base_name(one.library))
        if fits and _number(version) < entry.fixed and (why := _used(snapshot, one.library, entry)):
            since = ".".join(map(str, entry.fixed))
            told = entry.cause.format(version=version)
            yield f"known: {told} ({entry.reference}, gone since {since}), and {why}: {entry.fix}"


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:4])


def _used(snapshot: Snapshot, library: str, entry: Faulty) -> str:
    """Say how it can be told that this process uses the faulty part; "" where nothing tells."""
    for seen in snapshot.threads:
        for frame in seen.stack.frames if seen.stack else ():
            ours = frame.native and frame.library == library
            if ours and re.fullmatch(entry.functions, frame.function):
                return f"thread {seen.thread.tid} is in {frame.function}"
    for call in snapshot.damage.past_of(library) if snapshot.damage else ():
        if re.fullmatch(entry.functions, call.function):
            return f"thread {call.tid} had been in {call.function}"
    words = snapshot.core.arguments if snapshot.core and entry.options else ()
    if found := next((word for word in words if re.fullmatch(entry.options or "", word)), None):
        return f"this one has {entry.part} ({found} on its command line)"
    return ""


def prove(snapshot: Snapshot, core: CoreImage) -> Iterator[str]:
    """Yield the commands that make sure of it, such as this version of Python has."""
    program = core_causes.program(core)
    python = snapshot.damage.python if snapshot.damage else None
    own = core_code.is_interpreter_file(core.executable)
    # PYTHONMALLOC came with 3.6; before 3.7 only the program python itself read it (Modules/main.c).
    if python is None or python >= (3, 7) or (python == (3, 6) and own):
        also = "; so does python -X dev" if own and (python is None or python >= (3, 7)) else ""
        yield f"PYTHONMALLOC=debug PYTHONFAULTHANDLER=1 {program}   (dies sooner{also})"
    name = f"Python {python[0]}.{python[1]}" if python else "the same Python"
    linked = "" if own else ", and the program built against it"
    yield (
        f"./configure --with-pydebug && make   (sources of {name}{linked}: it checks each count and names "
        f"file and line that released too often), then: {program}"
    )
    libc = "" if python is not None and python < (3, 6) else "PYTHONMALLOC=malloc "
    yield (
        "build the suspect with CFLAGS='-g -fsanitize=address', then: "
        f"LD_PRELOAD=$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 {libc}{program}"
    )
