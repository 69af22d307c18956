"""Core files of this host: where the kernel, systemd-coredump, apport and abrt put them (core(5))."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

from diag.model.core_file import CoreFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.host import Host

PATTERN = "/proc/sys/kernel/core_pattern"
PLACES = (
    "/var/lib/systemd/coredump",
    "/var/crash",
    "/var/lib/apport/coredump",
    "/var/spool/abrt",
    "/var/core",
)
MOST = 5_000
"""Names looked at in one directory."""
_PACKED = (".zst", ".lz4", ".xz", ".gz", ".bz2")
# systemd-coredump: core.NAME.UID.BOOT.PID.TIME; apport: core._usr_bin_x.UID.BOOT.PID.TIME.
_SYSTEMD = re.compile(r"core\.(?P<program>.+)\.\d+\.[0-9a-f]{32}\.(?P<pid>\d+)\.\d+")
_APPORT = re.compile(r"core\.(?P<program>.+)\.\d+\.[0-9a-f-]{36}\.(?P<pid>\d+)\.\d+")
_PLAIN = re.compile(r"(?:.*[._-])?core(?:$|[._-].*)|.*[._-]dump(?:$|[._-].*)", re.IGNORECASE)
_SPECIFIER = re.compile(r"%.")


def collect(host: Host) -> tuple[CoreFile, ...]:
    """List core files, the newest first; directories that are not there or closed to us are left out."""
    found = [file for place in places(host) for file in _directory(host, place)]
    return tuple(sorted(found, key=lambda file: (-file.modified, file.path)))


def pattern(host: Host) -> str:
    """What the kernel does with a core; "" where that cannot be read."""
    try:
        return host.read(PATTERN, 4096).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def places(host: Host) -> tuple[str, ...]:
    """The directories to look in: the kernel's own, those of services, and where we are."""
    asked = pattern(host)
    own = []
    if asked and not asked.startswith("|"):
        directory = asked.rpartition("/")[0]
        if asked.startswith("/"):
            own = [directory.partition("%")[0] or "/"]
        else:
            own = [f"{host.info.cwd}/{directory}".rstrip("/") or "/"]
    return tuple(dict.fromkeys((*own, *PLACES, host.info.cwd)))


def _directory(host: Host, place: str) -> Iterator[CoreFile]:
    try:
        names = host.names(place)[:MOST]
    except OSError:
        return
    asked = _of_pattern(pattern(host))
    for name in names:
        path = f"{place.rstrip('/')}/{name}"
        if place.endswith("/abrt"):
            path, name = f"{path}/coredump", "coredump"  # noqa: PLW2901
        if (file := _file(host, path, name, asked)) is not None:
            yield file


def _file(host: Host, path: str, name: str, asked: re.Pattern[str] | None) -> CoreFile | None:
    bare = next((name.removesuffix(end) for end in _PACKED if name.endswith(end)), name)
    found = _SYSTEMD.fullmatch(bare) or _APPORT.fullmatch(bare) or (asked and asked.fullmatch(bare))
    if not found and bare != "coredump" and not _PLAIN.fullmatch(bare):
        return None
    try:
        about = host.status(path)
    except OSError:
        return None
    if not stat.S_ISREG(about.mode) or about.size < 64:
        return None
    groups = found.groupdict() if found else {}
    tail = re.search(r"[._-](\d{1,7})$", bare)
    pid = groups.get("pid") or (tail[1] if tail else None)
    program = groups.get("program")
    return CoreFile(
        path=path,
        modified=about.modified,
        size=about.size,
        pid=int(pid) if pid else None,
        program=program.rpartition("_")[2] if program and _APPORT.fullmatch(bare) else program,
    )


def _of_pattern(asked: str) -> re.Pattern[str] | None:
    """Make of a core pattern what recognises the names it makes: %p and %P pids, %e and %E programs."""
    name = asked.rpartition("/")[2]
    if not name or asked.startswith("|") or len(name) > 200:
        return None
    out, at = "", 0
    seen: set[str] = set()
    for part in _SPECIFIER.finditer(name):
        out += re.escape(name[at : part.start()])
        kind = {"p": "pid", "P": "pid", "e": "program"}.get(part[0][1])
        body = r"\d+" if kind == "pid" else ".+?"
        out += f"(?P<{kind}>{body})" if kind and kind not in seen else body
        seen.add(kind or "")
        at = part.end()
    out += re.escape(name[at:])
    tail = "" if "pid" in seen else r"(?:\.(?P<pid>\d+))?"  # kernel.core_uses_pid
    return re.compile(out + tail)
