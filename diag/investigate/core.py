"""``diag core``: from a core dump to what its threads did, what they waited for, and why it was written.

What takes longest, the C frames, is begun first, by a child; the rest loads and works meanwhile.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from diag.errors import DiagError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diag.host import CoreSource, CoreView, Machine
    from diag.model.core import CoreImage
    from diag.model.snapshot import Snapshot

    Say = Callable[[str, float], None]


def look(
    host: Machine,
    source: CoreSource,
    logs: Sequence[str] = (),
    say: Say = lambda _text, _done: None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Snapshot:
    """Look into a core; ``say`` is told what is being done; ``meanwhile`` is work to do while a child works.

    Raises ``DiagError`` when it is no core that can be read.
    """
    say("reading the core", 0.0)
    view, image = _opened(host, source, say)
    from diag.collectors import native_stacks  # noqa: PLC0415 - loads while the child does

    say(f"looking at {len(image.threads)} threads", 0.6)
    from diag.rules import core_code  # noqa: PLC0415 - loads while the child does

    natives = native_stacks.begin(view, image, core_code.works_on_objects)
    from diag.investigate import core_threads  # noqa: PLC0415 - loads while a child works

    def unwound() -> native_stacks.Natives:
        meanwhile()
        return natives()

    snapshot = core_threads.look(view, image, unwound)
    if logs:
        from diag.investigate import core_logs  # noqa: PLC0415 - loads only when used

        say("reading the logs", 0.9)
        snapshot = core_logs.add(host, snapshot, image, logs)
    return snapshot


def newest(host: Machine) -> str:
    """Find the newest core of this host.

    Raises ``DiagError`` when there is none that can be seen.
    """
    from diag.collectors import core_files  # noqa: PLC0415 - loads only when used

    found = core_files.collect(host)
    if found:
        return found[0].path
    asked = core_files.pattern(host)
    if asked.startswith("|"):
        hint = f"the kernel pipes cores to {asked[1:].split()[0] if asked[1:].split() else 'nobody'}: " + (
            "list them with: coredumpctl list" if "systemd" in asked else "see where that program puts them"
        )
    else:
        hint = (
            f"the kernel writes {asked or 'cores'} where the process is, if its limit allows it "
            "(ulimit -c unlimited): name the file, or take one of a living process with: gcore PID"
        )
    looked = ", ".join(core_files.places(host))
    raise DiagError(f"no core file in {looked}", hint=hint)


def _opened(host: Machine, source: CoreSource, say: Say) -> tuple[CoreView, CoreImage]:
    view = host.inside(source, lambda done: say(f"unpacking the core: {done:4.0%}", done))
    try:
        return view, view.image()
    except FileNotFoundError as error:
        raise DiagError(
            f"{source.path}: no such file", hint="list cores with: coredumpctl list, or ls /var/crash"
        ) from error
    except PermissionError as error:
        raise DiagError(
            f"{source.path}: permission denied", hint="cores hold all of a process's memory: read it as root"
        ) from error
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "look at it with: file CORE")
        raise DiagError(f"{source.path}: {error.strerror or error}", hint=hint) from error


_HINTS = {
    errno.ENOEXEC: "give the file that the kernel, systemd-coredump or gcore has written",
    errno.EISDIR: "name the core file in it",
    errno.ENODATA: "a recording answers only the command it was made with: ask for the same core",
    errno.ENOSPC: "unpacking needs room: set TMPDIR to a directory that has it",
}
