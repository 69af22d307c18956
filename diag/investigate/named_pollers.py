"""Who may poll for a lock through a file that it opens for each try: a shell's ``until flock -n FILE true``.

Between two tries nothing in /proc joins such a process with the lock, but what it runs with names the file:
its command line, its script, or the arguments of a program that Python code starts again and again.
"""

from __future__ import annotations

import posixpath
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from diag.collectors import process as processes
from diag.investigate import lock_calls, soft_locks
from diag.investigate.lasting import Lasting
from diag.model.facts import Gap
from diag.waits import lock_sites

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_graph import LockGraph
    from diag.model.source import Source

    Restless = Callable[[Inquiry, Iterable[int]], tuple[int, ...]]

_SCRIPT = 64 << 10
"""Bytes of a script that are searched."""
_ARGUMENTS = 4
"""Arguments of a command line among which the script is looked for."""
_MOST_NAMES = 1000
_MOST_WORDS = 300
"""Words of a command line and a script that may be paths."""
_WORD = re.compile(r"[^\s'\"`=;,()\[\]<>|&]{3,4000}")
_MAKES = re.compile(
    r"noclobber|set -[a-zA-Z]*C|O_EXCL|\bmkdir\b|\b(?:sym)?link\b|\bln -|['\"][wa]x\+?['\"]"
    r"|\b(?:while|until)\s+(?:!\s*)?(?:\[+|test)\s+(?:!\s+)?-[edfhL]\s"
)
"""What makes a file only if there is none, or waits for one to come or go: shells, Perl, Node."""
_BASH_SCRIPT = 255
"""The descriptor on which bash keeps the script it reads (its source: move_to_high_fd in shell.c)."""


def gaps(inquiry: Inquiry, graph: LockGraph, restless: Restless, blinds: frozenset[str]) -> Iterator[Gap]:
    """Name those who run with the name of an asked lock and wake up again and again: no known waiters."""
    paths = sorted(graph.polled_paths())[:_MOST_NAMES]
    wanted = {posixpath.basename(path): path for path in paths} | {path: path for path in paths}
    if not wanted:
        return
    kinds = _kinds(graph)
    named = {
        pid: found.path
        for pid in _candidates(inquiry, wanted)
        if (found := next((one for one in _named(inquiry, pid, wanted) if one.may_try(inquiry, kinds)), None))
    }
    if not named:
        return
    near = _near_holders(inquiry, graph)
    maybe = [
        pid
        for pid in named
        if pid not in near and not _is_copy(inquiry, pid) and not _is_unread_python(inquiry, pid)
    ]
    lasting = Lasting(inquiry, graph)
    if awake := tuple(pid for pid in restless(inquiry, maybe) if lasting.is_kept(named[pid])):
        yield _gap(inquiry, awake, named[awake[0]], blinds)


def of(
    inquiry: Inquiry, graph: LockGraph, pids: Iterable[int], restless: Restless, blinds: frozenset[str]
) -> Iterator[Gap]:
    """Name those of the asked processes that run with the name of a file with somebody else's lock on it."""
    # Known waiters, and those who have the file open: unread_pollers tells of them.
    near = {wait.waiter.pid for wait in graph.waits} | {item.pid for item in graph.descriptors}
    maybe = [pid for pid in pids if pid not in near and next(_texts(inquiry, pid), None)]
    lasting = Lasting(inquiry, graph)
    for pid in restless(inquiry, maybe):
        own = {lock.pid for lock in graph.elsewhere if lock.depth == 0}
        if pid in own or own & set(processes.family(inquiry.host, pid)):
            continue
        for one in _paths(inquiry, pid):
            lock = graph.adopt(one.path)
            if not one.may_try(inquiry, {one.path: {lock.lock} if lock and lock.lock else set()}):
                continue
            if lasting.is_kept(one.path, {(lock.device or 0, lock.inode or 0)} if lock else ()):
                yield _gap(inquiry, (pid,), _shown(inquiry, pid, one.path), blinds)
                break


class Mention(NamedTuple):
    """A place where what a process runs with names a file."""

    pid: int
    path: str
    text: str
    at: int

    def may_try(self, inquiry: Inquiry, kinds: Mapping[str, AbstractSet[str]]) -> bool:
        """Whether the command there may try for a lock of one of ``kinds``; else for one by existence."""
        if own := kinds.get(self.path):
            return lock_calls.may_try(inquiry, self.pid, self.text, self.at, own)
        return _is_soft(inquiry, self.path, self.text)


def _kinds(graph: LockGraph) -> dict[str, set[str]]:
    """The kinds of the locks that are held on each path."""
    found: dict[str, set[str]] = {}
    for lock in graph.held():
        for name in graph.files.names_of(lock):
            found.setdefault(name, set()).add(lock.kind)
    return found


def _candidates(inquiry: Inquiry, wanted: Mapping[str, str]) -> tuple[int, ...]:
    """Return who may run with one of the names: a cheap look at all, for each costs more."""
    try:
        return inquiry.host.mentions(sorted({posixpath.basename(path) for path in wanted}))
    except OSError:
        return processes.pids(inquiry.host)


def _gap(inquiry: Inquiry, found: tuple[int, ...], path: str, blinds: frozenset[str]) -> Gap:
    process = inquiry.process(found[0])
    others = f" and {len(found) - 1} more" if len(found) > 1 else ""
    verb = "poll" if others else "polls"
    name = process.name if process else "?"
    return Gap(
        source=f"/proc/{found[0]}/cmdline",
        hides=f"whether pid {found[0]} ({name}){others} {verb} for the lock on {path}",
        reason="it runs with that name and wakes up again and again; a try that opens the file first "
        "leaves no trace",
        hint=f"strace -f -tt -e trace=flock,fcntl,openat -p {found[0]} shows its tries "
        "(it stops the process at each)",
        blinds=blinds,
    )


def _near_holders(inquiry: Inquiry, graph: LockGraph) -> set[int]:
    """Known waiters, who has the file open, and who holds the lock, with its parents and children."""
    found = {wait.waiter.pid for wait in graph.waits}
    found.update(item.pid for item in graph.descriptors if graph.files.is_asked_file(item))
    holders = {hold.holder.pid for hold in graph.all_holds()}
    found.update(processes.family(inquiry.host, *holders))
    for pid in holders:
        process = inquiry.process(pid)
        while process and process.ppid > 1 and process.ppid not in found:
            found.add(process.ppid)
            process = inquiry.process(process.ppid)
    return found


def _named(inquiry: Inquiry, pid: int, paths: dict[str, str]) -> Iterator[Mention]:
    """Yield the paths that a process runs with; a word with a variable in it may be any of that name.

    ``paths``: those that are looked for, by the name of the file alone and in full.
    """
    for text in _texts(inquiry, pid):
        for match in _WORD.finditer(text):
            word = match[0].rstrip(":.")
            known = paths.get(posixpath.basename(word))
            if known is None:
                continue
            whole = word if word.startswith("/") else _shown(inquiry, pid, _resolved(pid, word))
            if whole in paths or "$" in word:
                yield Mention(pid, whole if whole in paths else known, text, match.start())


def _texts(inquiry: Inquiry, pid: int) -> Iterator[str]:
    """What a process runs with; of Python, whose code can be read, only where that code does not tell all."""
    argv = _argv(inquiry, pid)
    stacks = inquiry.stacks(pid) if inquiry.has_stacks(pid) else ()
    if stacks:
        for stack in stacks:
            sources = inquiry.sources(stack)
            known = list(lock_sites.restarted(stack, sources))
            in_loop = any("/asyncio/" in frame.file for frame in stack.frames)
            if known or (in_loop and not inquiry.tells_tasks(pid)):
                yield from (*known, " ".join(argv))
                yield from (text for file, text in _own_code(sources) if "/lib/python" not in file)
        return
    yield " ".join(argv)
    yield from _scripts(inquiry, pid, argv)


def _own_code(sources: Mapping[str, Source]) -> Iterator[tuple[str, str]]:
    for file, source in sources.items():
        yield file, source.text[:_SCRIPT].decode("utf-8", "replace")


def _argv(inquiry: Inquiry, pid: int) -> tuple[str, ...]:
    try:
        return processes.parse_argv(inquiry.host.read(f"/proc/{pid}/cmdline", _SCRIPT))
    except OSError:
        return ()


def _scripts(inquiry: Inquiry, pid: int, argv: tuple[str, ...]) -> Iterator[str]:
    for place in (
        f"/proc/{pid}/fd/{_BASH_SCRIPT}",
        *(_resolved(pid, word) for word in argv[1 : 1 + _ARGUMENTS] if word and not word.startswith("-")),
    ):
        try:
            about = inquiry.host.status(place)
            if stat.S_ISREG(about.mode) and about.size <= _SCRIPT:
                yield inquiry.host.read(place, _SCRIPT).decode("utf-8", "replace")
        except (OSError, ValueError):
            continue


def _resolved(pid: int, word: str) -> str:
    return f"/proc/{pid}/root{word}" if word.startswith("/") else f"/proc/{pid}/cwd/{word}"


def _paths(inquiry: Inquiry, pid: int) -> Iterator[Mention]:
    """Yield the files that exist among the words of what a process runs with."""
    words = {
        match[0]: (text, match.start()) for text in _texts(inquiry, pid) for match in _WORD.finditer(text)
    }
    for word, (text, at) in list(words.items())[:_MOST_WORDS]:
        path = _resolved(pid, word)
        try:
            if stat.S_ISREG(inquiry.host.status(path).mode):
                yield Mention(pid, path, text, at)
        except (OSError, ValueError):
            continue


def _shown(inquiry: Inquiry, pid: int, path: str) -> str:
    """A path as the process itself would write it."""
    base = f"/proc/{pid}/cwd"
    if path.startswith(f"{base}/"):
        try:
            return inquiry.host.link(base) + path.removeprefix(base)
        except OSError:
            return path
    return path.removeprefix(f"/proc/{pid}/root")


def _is_soft(inquiry: Inquiry, path: str, text: str) -> bool:
    """Whether a file seems to be a lock by existence to who runs with ``text``.

    The text makes or awaits such files, or the file names its owner and no more, as such locks do.
    """
    try:
        if inquiry.host.status(path).size > soft_locks.LIMIT:
            return False
        owner, _ = soft_locks.parse(inquiry.host.read(path, soft_locks.LIMIT).decode("utf-8"))
    except (OSError, UnicodeDecodeError):
        owner = None
    return owner is not None or bool(_MAKES.search(text))


def _is_unread_python(inquiry: Inquiry, pid: int) -> bool:
    """Whether it runs Python that did not sleep as a poller does: nothing but its command line is known."""
    try:
        runs = "python" in posixpath.basename(inquiry.host.link(f"/proc/{pid}/exe"))
    except OSError:
        return False
    return runs and not (inquiry.has_stacks(pid) and inquiry.stacks(pid))


def _is_copy(inquiry: Inquiry, pid: int) -> bool:
    """Whether a process is a fork of its parent: the command line is the parent's, and says nothing of it."""
    process = inquiry.process(pid)
    return process is None or (process.ppid > 1 and _argv(inquiry, pid) == _argv(inquiry, process.ppid))
