"""C009: the file on disk is no longer the library that is, or was, mapped."""

from __future__ import annotations

from datetime import datetime, timezone
from shlex import quote
from typing import TYPE_CHECKING

from diag.model.facts import Evidence
from diag.model.finding import Confidence, Finding, Library, Severity
from diag.model.graph import Actor
from diag.rules import crash_causes as causes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.code import CodePlace, ReplacedFile
    from diag.model.crash import CrashGroup
    from diag.model.snapshot import Snapshot

CODE = "C009"
SLUG = "replaced-library"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Code was replaced on disk below a program that runs it, or after a program that crashed in it."""
    for pid in dict.fromkeys(file.pid for file in snapshot.replaced_files):
        yield _running(tuple(file for file in snapshot.replaced_files if file.pid == pid))
    crashed = [
        group for group in snapshot.crash_groups if group.code and (group.code.replaced or group.code.users)
    ]
    for faces in causes.together(crashed, lambda group: (group.program, group.library)):
        code = faces[0].code
        if code is not None:
            yield _crashed(faces, code)


def _running(files: tuple[ReplacedFile, ...]) -> Finding:
    first = files[0]
    more = f" and {len(files) - 1} other files" if len(files) > 1 else ""
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"pid {first.pid} ({first.process}) runs {first.path}{more} as it was before "
            f"{_time(first.changed)}: the file was replaced since, and what it loads from now on is of the "
            "new version"
        ),
        severity=Severity.INFO,
        confidence=Confidence.CERTAIN,
        culprit=Library(library=first.path.rpartition("/")[2]),
        victims=(Actor(pid=first.pid, started=first.started, process=first.process),),
        evidence=tuple(
            Evidence(
                source=f"/proc/{file.pid}/maps",
                text=f"{file.path} (deleted); the path now names "
                f"inode {file.now}, put there {_time(file.changed)}",
            )
            for file in files
        ),
        remedy=_REMEDY,
        check=(f"grep deleted /proc/{first.pid}/maps", f"ls -li --time=ctime {quote(first.path)}"),
    )


def _crashed(faces: tuple[CrashGroup, ...], code: CodePlace) -> Finding:
    group = faces[0]
    alive = f"pid {', '.join(map(str, code.users))} still runs the old file" if code.users else ""
    why = code.replaced or "no path names the file any more that crashed"
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{code.path} is not the file any more in which {causes.program(group)} crashed, "
            f"{causes.times(group)}{causes.elsewhere(faces)}: {alive or why}"
        ),
        severity=Severity.WARNING if code.users else Severity.INFO,
        confidence=Confidence.CERTAIN if code.users else Confidence.LIKELY,
        culprit=Library(library=group.library or str(code.path)),
        victims=tuple(Actor(pid=pid, started=0, process=group.program or "") for pid in code.users),
        evidence=(*causes.evidence(group), Evidence(source=str(code.path), text=alive or why)),
        against=() if code.users else (
            "the path is where the program or its loader has this file now; it may have run a copy elsewhere",
        ),
        remedy=_REMEDY,
        check=(
            f"ls -li --time=ctime {quote(str(code.path))}",
            "grep -h deleted /proc/[0-9]*/maps | sort | uniq -c",
        ),
    )  # fmt: skip


_REMEDY = (
    "Now: restart the service, so that all of its code is of one version; for the function of an old crash, "
    "name the old files with --root or --debug-dir.",
    "In the code: let deployments restart what they update (needrestart, systemctl try-restart), and never "
    "write into a library that is in use: write a new file and rename it.",
)


def _time(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
