"""A program of its own: reads the native stacks of a core with pystack, or becomes gdb, within limits.

A core is hostile input, and these tools are large programs in C and C++: what they may use of memory and
time is bounded, and a crash of theirs is an exit status. Started by path, never imported.

``limited.py pystack PATHS`` loads pystack, to be found in PATHS, waits for CORE NUL PROGRAM [NUL DIRECTORY:…]
on its standard input, and prints JSON: [{tid, gil, frames: [[function, source, line, library, address],
…]}, …], innermost first. It is started without site (-S), which only takes time, before the core is opened:
to load takes as long as the work. ``limited.py exec PROGRAM ARGUMENTS`` becomes that program.
"""

from __future__ import annotations

import json
import os
import resource
import sys

MEMORY = 8 << 30
"""Bytes of address space: pystack and gdb map a core, they do not read it."""
SECONDS = 60
MOST_FRAMES = 20_000
LONGEST = 400
"""Characters of a name."""


def main() -> int:
    """Do what the command line says."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    what, *arguments = sys.argv[1:]
    if what == "exec":
        resource.setrlimit(resource.RLIMIT_AS, (4 * MEMORY, 4 * MEMORY))
        os.execvp(arguments[0], arguments)  # noqa: S606 - that is what it is for
    # Our own directory comes first: nothing of it is to be taken for a library.
    sys.path[:1] = []
    sys.path.extend(path for path in arguments[0].split(os.pathsep) if path not in sys.path)
    from pystack.engine import (  # noqa: PLC0415 - only after the path is set right
        NativeReportingMode,
        StackMethod,
        get_process_threads_for_core,
    )

    words = sys.stdin.buffer.read()
    if not words:
        return 0  # nobody needs it
    core, program, *rest = map(os.fsdecode, words.split(b"\0"))
    threads = get_process_threads_for_core(
        core,
        program,
        library_search_path=rest[0] if rest else "",
        native_mode=NativeReportingMode.ALL,
        locals=False,
        method=StackMethod.AUTO,
    )
    json.dump([_thread(thread) for thread in threads], sys.stdout)
    return 0


def _thread(thread: object) -> dict[str, object]:
    frames = list(getattr(thread, "native_frames", ()))[-MOST_FRAMES:]
    return {
        "tid": int(getattr(thread, "tid", 0)),
        "gil": int(getattr(thread, "holds_the_gil", 0)) > 0,
        "frames": [
            [
                str(frame.symbol)[:LONGEST],
                str(frame.path)[:LONGEST],
                int(frame.linenumber),
                str(frame.library)[:LONGEST],
                int(frame.address),
            ]
            for frame in reversed(frames)
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
