"""Threads that wait for a semaphore which others of the process stand inside of, as inside a lock. Pure.

Anybody may release a semaphore, so any of those inside may be the one that lets the waiter go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.model.facts import Evidence
from diag.model.graph import Hold, Resource
from diag.waits.lock_sites import unguarded
from diag.waits.python_locks import Primitive
from diag.waits.scene import actor, at, time_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from diag.model.graph import Wait
    from diag.waits.python_locks import Held, Name
    from diag.waits.thread_lock import Member

KIND = "thread-semaphore"


def link(
    members: Sequence[Member],
    waits: Mapping[int, Wait],
    address: Callable[[Name], int | None],
    places: Callable[[int], int | None],
    free: Callable[[int], int | None],
    *,
    may_be_leaked: bool,
) -> dict[int, Wait]:
    """Return better known waits, by thread id, of those who wait for a semaphore that somebody is inside of.

    ``address`` finds the object that a name leads to, ``places`` how many may have a semaphore: one that
    says so and has a place out of sight counts as one that somebody else may release. ``free``: its places
    that nobody has. ``may_be_leaked``: what all threads hold is known, so that who is not seen is not there.
    """
    found = {}
    for member in members:
        wanted, wait = member.wanted, waits.get(member.thread.tid)
        if wanted is None or wait is None or not wanted.subject:
            continue
        if wanted.primitive is not Primitive.SEMAPHORE:
            continue
        inside = [
            (other, held)
            for other, held in _inside(members, wanted.subject, address)
            if not (_wants(other, wanted.subject, held) and _enters(other, held))
        ]
        if not inside and may_be_leaked and member.releases.leaks and free(wanted.subject) == 0:
            found[member.thread.tid] = _leaked(member, wait, wanted.subject)
        maximum = places(wanted.subject)
        if inside and maximum in (None, len(inside)):
            found[member.thread.tid] = _held_up(member, wait, inside, certain=maximum is not None)
    return found


def _inside(
    members: Sequence[Member], semaphore: int, address: Callable[[Name], int | None]
) -> Iterator[tuple[Member, Held]]:
    for member in members:
        for held in member.held:
            if held.name and address(held.name) == semaphore:
                yield member, held


def _wants(member: Member, semaphore: int, held: Held) -> bool:
    """Whether a thread stands in a statement because it waits for this semaphore there."""
    wanted = member.wanted
    return wanted is not None and wanted.subject == semaphore and held.frame <= wanted.frame + 1


def _leaked(member: Member, wait: Wait, semaphore: int) -> Wait:
    """All places are taken, and nobody stands between the taking and the release of one."""
    pid = member.process.pid
    resource = Resource(kind=KIND, key=f"{KIND}:{pid}:{semaphore:x}", name=f"a semaphore of pid {pid}")
    leaks = member.releases.leaks
    why = f"the semaphore has no place left, and no thread stands inside it; {unguarded(leaks)}"
    hold = Hold(
        holder=actor(member.process),
        resource=resource,
        taken_at=leaks[0] if len(leaks) == 1 else None,
        abandoned=True,
        certain=False,
        evidence=(Evidence(source=f"/proc/{pid}/mem", text=why),),
    )
    words = f"waits for {resource.name}, which was never released{time_limit(member.asked)}{at(member.stack)}"
    evidence = (*wait.evidence, *hold.evidence)
    return replace(wait, resource=resource, words=words, holds=(hold,), evidence=evidence)


def _enters(member: Member, held: Held) -> bool:
    """Whether a frame stands on the very line that takes: ``with places: work()`` is being entered there."""
    return member.stack.frames[held.frame].line == held.site.where.line


def _held_up(member: Member, wait: Wait, inside: list[tuple[Member, Held]], *, certain: bool) -> Wait:
    pid = member.process.pid
    resource = Resource(
        kind=KIND,
        key=f"{KIND}:{wait.resource.key}",
        name=f"a semaphore of pid {pid}",
    )
    holds = tuple(
        Hold(
            holder=other.actor,
            resource=resource,
            taken_at=held.site.where,
            since=other.process.since,
            certain=certain,
            evidence=(
                Evidence(
                    source=f"py-spy dump --locals --pid {pid}",
                    text=f"{held.site.where}, holds {held.site.expression}: the semaphore waited for",
                ),
            ),
        )
        for other, held in inside
    )
    words = f"waits for {resource.name}{time_limit(member.asked)}{at(member.stack)}"
    return replace(
        wait,
        resource=resource,
        words=words,
        holds=holds,
        retaken=next((held.site.where for other, held in inside if other is member), None),
    )
