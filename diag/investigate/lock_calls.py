"""Whether a program can lock a file at all, by what it calls of the C library; else it polls for none.

``tail -f FILE`` and ``watch cat FILE`` wake up again and again with the name of a lock, and never ask for it.
"""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

from diag.collectors import maps
from diag.collectors.elf import imports
from diag.collectors.process import parse_status

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from diag.investigate.inquiry import Inquiry

_FCNTL = frozenset({"fcntl", "fcntl64", "lockf", "lockf64"})
_CALLS = {"flock": frozenset({"flock"}), "posix": _FCNTL, "ofd": _FCNTL, "lease": _FCNTL}
"""Functions of the C library that may ask for each kind of lock; who asks by fcntl heeds no flock."""
_STARTS = frozenset({
    "execve", "execv", "execvp", "execvpe", "execl", "execlp", "execle", "fexecve", "execveat",
    "posix_spawn", "posix_spawnp", "system", "popen",
})  # fmt: skip
_CLOSE_ON_EXEC = 0o2000000
_RAW = frozenset({"syscall"})
_PROGRAMS = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
_LIBRARIES = ("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")
_ENDS = re.compile(r"[;&|\n(){}`]")
_QUOTES = "'\""
_MOST_WORDS = 40
_MOST_LIBRARIES = 60


def may_lock(inquiry: Inquiry, pid: int, fd: int, kinds: Collection[str]) -> bool:
    """Whether a process may ask for a lock of one of ``kinds`` through a descriptor.

    Some of the code it has loaded can, or a program that it starts and gives the descriptor: ``flock 9``.
    """
    calls = _calls(kinds) | (_STARTS if _is_passed_on(inquiry, pid, fd) else frozenset())
    mapped = {item.path for item in maps.collect(inquiry.host, pid) if "x" in item.access and item.path}
    files = [f"/proc/{pid}/root{path}" for path in sorted(mapped) if path.startswith("/")]
    if not files or len(files) > _MOST_LIBRARIES:
        return True
    return any(found is None or found.names & calls for found in (_read(inquiry, file) for file in files))


def _is_passed_on(inquiry: Inquiry, pid: int, fd: int) -> bool:
    try:
        text = inquiry.host.read(f"/proc/{pid}/fdinfo/{fd}", 4096).decode("ascii", "replace")
        return not int(parse_status(text).get("flags", "0"), 8) & _CLOSE_ON_EXEC
    except (OSError, ValueError):
        return True


def may_try(inquiry: Inquiry, pid: int, text: str, at: int, kinds: Collection[str]) -> bool:
    """Whether the command in a command line or script that names a file at ``at`` may ask for a lock on it.

    It may not where every word of it that is a program is one that can not, as far as it can be read.
    """
    first = max((match.end() for match in _ENDS.finditer(text, 0, at)), default=0)
    before = text[first:at].rstrip(f" {_QUOTES}")
    if before.endswith(("<", ">")):
        return True  # opened by the shell itself, perhaps for a command that follows
    found = _ENDS.search(text, at)
    last = found.start() if found else len(text)
    words = text[first:last].split()[:_MOST_WORDS]
    named = text[at:last].split()[:1]  # the file itself is none of the programs
    known = dict.fromkeys(word.strip(_QUOTES) for word in words if word not in named)
    programs = [path for word in known for path in _programs(inquiry, pid, word)]
    return not programs or any(_can(inquiry, pid, path, _calls(kinds)) for path in programs)


def _calls(kinds: Collection[str]) -> frozenset[str]:
    return frozenset().union(*(_CALLS.get(kind, _FCNTL) for kind in kinds), _RAW)


def _programs(inquiry: Inquiry, pid: int, word: str) -> Iterator[str]:
    """Yield the file that a word runs, if it is one: by its path, or found where programs are."""
    if not word or word.startswith("-"):
        return
    own = f"/proc/{pid}/root{word}" if word.startswith("/") else f"/proc/{pid}/cwd/{word}"
    # A script need not be executable: its interpreter may be named before it.
    for path, any_mode in ((own, True), *((f"/proc/{pid}/root{each}/{word}", False) for each in _PROGRAMS)):
        try:
            mode = inquiry.host.status(path).mode
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(mode) and (any_mode or mode & 0o111):
            yield path
            return


def _can(inquiry: Inquiry, pid: int, path: str, calls: frozenset[str]) -> bool:
    """Whether a program or one of its libraries calls one of ``calls``; yes where that can not be read."""
    waiting, seen = [path], {path}
    for file in waiting:
        found = _read(inquiry, file)
        if found is None or found.names & calls or len(seen) > _MOST_LIBRARIES:
            return True
        for name in found.libraries:
            library = _library(inquiry, pid, name)
            if library is None:
                return True
            if library not in seen:
                seen.add(library)
                waiting.append(library)
    return False


def _library(inquiry: Inquiry, pid: int, name: str) -> str | None:
    machine = inquiry.host.info.machine
    for folder in (f"/lib/{machine}-linux-gnu", f"/usr/lib/{machine}-linux-gnu", *_LIBRARIES):
        path = f"/proc/{pid}/root{folder}/{name}"
        try:
            inquiry.host.status(path)
        except OSError:
            continue
        return path
    return None


def _read(inquiry: Inquiry, path: str) -> imports.Imports | None:
    if path not in inquiry.imports:
        inquiry.imports[path] = imports.read(inquiry.host, path)
    return inquiry.imports[path]
