"""L007: the locked file is no longer what its path names, so that one path has two owners."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.facts import Evidence
from diag.model.finding import Confidence, Finding, Severity
from diag.rules import phrases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.snapshot import Lock, Snapshot

CODE, SLUG = "L007", "replaced-lock-file"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """A deleted file is locked, and its path names another file that somebody uses."""
    for lock in snapshot.locks:
        if not (lock.asked and lock.deleted and lock.replaced_by and lock.holders):
            continue
        rival = next(
            (
                other
                for other in snapshot.locks
                if other.resource.path == lock.resource.path
                and other.resource.inode == lock.replaced_by
                and other.holders
            ),
            None,
        )
        yield _finding(lock, rival)


def _finding(lock: Lock, rival: Lock | None) -> Finding:
    resource, holder = lock.resource, lock.holders[0]
    now = Evidence(
        source=f"stat {resource.path}", text=f"inode {lock.replaced_by}, the locked one is {resource.inode}"
    )
    rivals = tuple(hold.holder for hold in rival.holders) if rival else ()
    owners = (
        f"{phrases.who(rivals[0])} holds a lock on the new file at the same time"
        if rivals
        else "whoever locks the path now gets a second lock"
    )
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{phrases.who(holder.holder)} holds the {resource.name}, but that file was deleted and the path "
            f"names a new one (inode {lock.replaced_by}): {owners}"
        ),
        severity=Severity.CRITICAL if rival else Severity.WARNING,
        confidence=Confidence.CERTAIN,
        culprit=holder.holder,
        victims=rivals,
        resource=resource,
        evidence=(
            *(item for hold in lock.holders for item in hold.evidence),
            now,
            *(item for hold in (rival.holders if rival else ()) for item in hold.evidence),
        ),
        against=() if rival else ("nobody holds the new file yet: no harm may have been done so far",),
        remedy=(
            "stop the services that use this lock, then start them again: they meet on the new file",
            "in the code: never delete a lock file, or compare fstat() of the locked descriptor with "
            "stat() of the path after locking and try again when they differ",
            "look for a cleaner of temporary files (tmpfiles.d, tmpreaper, cron) and for log rotation",
        ),
        check=(
            f"ls -li {phrases.quote(resource.path or '')}",
            f"ls -l /proc/{holder.holder.pid}/fd/{holder.fd}",
        ),
    )
