"""C009: the file on disk is no longer the library that is, or was, mapped."""

from __future__ import annotations

from datetime import datetime, timezone
from shlex import quote
from typing import TYPE_CHECKING

from diag.model.facts import Evidence
from diag.model.finding import Confidence, Finding, Library, Severity
from diag.model.graph import Actor
from diag.rules import core_causes, core_code
from diag.rules import crash_causes as causes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.code import CodePlace, ReplacedFile
    from diag.model.core import CoreImage, CoreModule
    from diag.model.crash import CrashGroup
    from diag.model.snapshot import Snapshot

CODE = "C009"
SLUG = "replaced-library"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Code was replaced on disk below a program that runs it, or after a program that crashed in it."""
    for pid in dict.fromkeys(file.pid for file in snapshot.replaced_files):
        yield _running(tuple(file for file in snapshot.replaced_files if file.pid == pid))
    if snapshot.core and snapshot.fault:
        yield from _of_core(snapshot, snapshot.core)
    crashed = [
        group for group in snapshot.crash_groups if group.code and (group.code.replaced or group.code.users)
    ]
    for faces in causes.together(crashed, lambda group: (group.program, group.library)):
        code = faces[0].code
        if code is not None:
            yield _crashed(faces, code)


def _of_core(snapshot: Snapshot, core: CoreImage) -> Iterator[Finding]:
    """Code that was replaced while the process lived, where it died in it or had loaded both versions."""
    on_stack = {frame.library for frame in core_code.frames_at_fault(snapshot)}
    gone = [one for one in core.modules if one.deleted and one.executable]
    for module in gone:
        newer = next((one for one in core.modules if one.path == module.path and not one.deleted), None)
        if newer is None and (module.path not in on_stack or module.now != "replaced"):
            continue
        how = (
            "and has loaded the new file too: two versions of it were in one process"
            if newer
            else "was in it, and what it loaded later was of the new version"
        )
        yield Finding(
            code=CODE,
            slug=SLUG,
            summary=f"{core_causes.who(snapshot)} died after {module.path} had been replaced below it, {how}",
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY if newer else Confidence.POSSIBLE,
            culprit=Library(library=module.name),
            victims=core_causes.victim(snapshot),
            evidence=tuple(_mapped(core, one) for one in (module, newer) if one),
            against=("that it was replaced does not prove that the versions do not fit each other",),
            remedy=_REMEDY,
            check=(
                f"readelf -n {quote(module.path)}   (its build id today)",
                f"eu-unstrip -n --core {quote(core.path)}",
            ),
        )


def _mapped(core: CoreImage, module: CoreModule) -> Evidence:
    today = f"; the file there today has {module.build_id_now}" if module.build_id_now else ""
    return Evidence(
        source=f"{core.path}: NT_FILE",
        text=f"{module.path}{' (deleted)' if module.deleted else ''} at {module.start:#x}, "
        f"build id {module.build_id or 'unknown'}{today}",
    )


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
