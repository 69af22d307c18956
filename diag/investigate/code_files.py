"""Finds the file that a crash line names by its base name only, and opens each but once."""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from diag.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diag.collectors.elf import Code, Found, Image
    from diag.collectors.elf.debug_files import Server
    from diag.host import Host
    from diag.host.records import MappedFile
    from diag.model.crash import CrashGroup

ANYBODYS = ("/tmp", "/var/tmp")  # noqa: S108 - nothing is written there
"""Directories where a stranger may have put a file of any name: only root's and the reader's own count."""

STANDARD = (
    "/usr/lib", "/usr/lib64", "/lib64", "/usr/bin", "/usr/sbin", "/usr/libexec", "/usr/local", "/opt", "/srv",
    "/app", "/var/lib", "/var/www", "/home", "/root", *ANYBODYS,
)  # fmt: skip
"""Directories that are searched where no process and no loader's list names the file."""

MOST = 8
"""Files of one name that are looked into."""

_LISTED = re.compile(r"^\s*(\S+) \(.*\) => (/.*)$", re.MULTILINE)  # a line of ldconfig -p
_PATIENCE = 5.0  # seconds ldconfig may take


class Candidate(NamedTuple):
    """A file that may be the one that crashed."""

    path: str  # as the crashed program knew it, or as it was found
    opened: str  # where to open it
    root: str = ""  # what ``opened`` has before ``path``
    known: bool = False  # programs do use this path: a process of the same name, or the loader, says so
    exact: bool = False  # the dead process itself used it: audit or systemd wrote it down
    vouched: bool = False  # the user named the place: times there are those of a copy
    modified: float = 0.0  # seconds since the epoch
    changed: float = 0.0
    users: tuple[int, ...] = ()  # living processes of the program that still run it, though it was replaced


class Finder:
    """Looks files up for one run, all of whose names are known from the beginning."""

    def __init__(self, host: Host, root: str | None, debug: tuple[str, ...], names: Iterable[str]) -> None:
        self.root = root
        self.looked_up = 0
        self._names = tuple(sorted(names))
        self._host = host
        self._debug = debug
        self._server: Server | None = None
        self._images: dict[str, Image | None] = {}
        self._code: dict[str, Code] = {}
        self._found: dict[tuple[str | None, str], list[Candidate]] = {}

    def image(self, candidate: Candidate) -> Image | None:
        """Open a file; None where it can not be read."""
        from diag.collectors.elf import Image  # noqa: PLC0415 - loads only when used

        if candidate.opened not in self._images:
            try:
                self._images[candidate.opened] = Image.open(self._host, candidate.opened)
            except (OSError, MalformedError):
                self._images[candidate.opened] = None
        return self._images[candidate.opened]

    def look_up(self, candidate: Candidate, image: Image, address: int) -> Found:
        """Name the function and line at an address of a file."""
        from diag.collectors.elf import Code, debug_files  # noqa: PLC0415 - loads only when used

        self.looked_up += 1
        if candidate.opened not in self._code:
            system = f"{(self.root or '').rstrip('/')}{debug_files.SYSTEM}"
            directories = (*self._debug, system)
            self._server = self._server or debug_files.Server(self._host)
            self._code[candidate.opened] = Code(self._host, image, directories, candidate.root, self._server)
        return self._code[candidate.opened].at(address)

    def candidates(self, group: CrashGroup) -> list[Candidate]:
        """List the files that may be the one a group of crashes was in, the surest first."""
        wanted = (group.program, group.library or "")
        if wanted not in self._found:
            self._found[wanted] = list(self._search(group, wanted[1]))[:MOST]
        return self._found[wanted]

    def _search(self, group: CrashGroup, library: str) -> Iterator[Candidate]:
        if self.root is not None:
            root = self.root.rstrip("/")
            for path in self._below[library]:
                yield from self._known(path, root=root, vouched=True)
            return
        found = [*self._running(group, library), *self._told(group, library)]
        yield from found
        if not any(candidate.known for candidate in found):
            for path in self._below[library]:
                yield from self._known(path, known=False)

    def _running(self, group: CrashGroup, library: str) -> Iterator[Candidate]:
        """What living processes have mapped under that name; those of the same program know best."""
        mapped = self._mappings[library]
        same = [one for one in mapped if one.process == group.program]
        for one in same or mapped:
            yield from self._mapped(one, known=one.process == group.program)

    @cached_property
    def _mappings(self) -> dict[str, list[MappedFile]]:
        found: dict[str, list[MappedFile]] = defaultdict(list)
        with suppress(OSError):
            for one in self._host.mapped(self._names):
                found[one.path.rpartition("/")[2]].append(one)
        return found

    def _directories(self) -> tuple[str, ...]:
        if self.root is not None:
            return (self.root,)
        here = self._host.info.cwd
        return STANDARD if here == "/" else (here, *STANDARD)

    @cached_property
    def _below(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        with suppress(OSError):
            for path in self._host.files_below(self._directories(), self._names):
                found[path.rpartition("/")[2]].append(path)
        return found

    def _mapped(self, one: MappedFile, *, known: bool) -> Iterator[Candidate]:
        # The link opens the very file that is mapped, even where no path names it any more (proc(5)).
        link = f"/proc/{one.pid}/map_files/{one.start:x}-{one.end:x}"
        root = f"/proc/{one.pid}/root"
        if one.deleted:
            if about := self._times(link):
                yield Candidate(
                    one.path, link, known=False, modified=about[0], users=(one.pid,) if known else ()
                )
            yield from self._known(one.path, root=root, known=known)
        elif about := self._times(f"{root}{one.path}"):
            yield Candidate(one.path, f"{root}{one.path}", root, known, modified=about[0], changed=about[1])
        else:
            yield from self._known(one.path, known=known)

    def _told(self, group: CrashGroup, library: str) -> Iterator[Candidate]:
        """Paths that somebody wrote down: audit and systemd the program's, the loader its libraries'."""
        lines = (*group.events, *group.reports)
        told = {str(path) for line in lines if (path := line.detail("exe"))}
        for path in sorted(told):
            if path.rpartition("/")[2] == library:
                for found in self._known(path):
                    yield found._replace(exact=True)
        for path in self._listed.get(_stem(library), ()):
            yield from self._known(self._resolved(path, library))

    def _resolved(self, path: str, library: str) -> str:
        """Follow the loader's link: it lists ``libx.so.1``, the kernel names ``libx.so.1.2.3``."""
        directory, _, name = path.rpartition("/")
        if name == library:
            return path
        try:
            target = self._host.link(path)
        except OSError:
            return ""
        return f"{directory}/{target}" if target == library else ""

    @cached_property
    def _listed(self) -> dict[str, list[str]]:
        """List the libraries the dynamic loader knows, ldconfig(8), by their names without version."""
        try:
            said = self._host.run(("/sbin/ldconfig", "-p"), timeout=_PATIENCE).stdout
        except OSError:
            return {}
        found: dict[str, list[str]] = {}
        for _, path in _LISTED.findall(said.decode("utf-8", "replace")):
            found.setdefault(_stem(path.rpartition("/")[2]), []).append(path)
        return found

    def _known(
        self, path: str, *, root: str = "", known: bool = True, vouched: bool = False
    ) -> Iterator[Candidate]:
        opened = path if vouched or not root else f"{root}{path}"
        if path and "\0" not in path and (about := self._times(opened)):
            stranger = path.startswith(tuple(f"{one}/" for one in ANYBODYS)) and not self._trusted(opened)
            if stranger and not known and not vouched:
                return
            yield Candidate(path, opened, root, known, vouched=vouched, modified=about[0], changed=about[1])

    def _trusted(self, path: str) -> bool:
        """Whether a file is root's or the reader's own."""
        try:
            return self._host.status(path).uid in {0, self._host.info.uid}
        except OSError:
            return False

    def _times(self, path: str) -> tuple[float, float] | None:
        try:
            about = self._host.status(path)
        except OSError:
            return None
        return about.modified, about.changed


def _stem(name: str) -> str:
    """Cut the version off: ``libx.so``."""
    head, so, _ = name.partition(".so")
    return head + so
