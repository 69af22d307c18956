"""Python 2's one lock for all imports: threads that wait for it, and the thread that has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors.pyobjects.imports import old_import_lock
from diag.model.facts import Evidence
from diag.model.graph import Hold, How, Resource
from diag.waits.scene import actor, asked_at, at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from diag.collectors.pyobjects import PyObjects
    from diag.model.graph import Wait
    from diag.model.snapshot import SeenThread


def suspects(group: Sequence[SeenThread]) -> tuple[SeenThread, ...]:
    """The threads that sleep without a time limit in a lock of the interpreter itself."""
    return tuple(
        seen
        for seen in group
        if seen.wait
        and seen.wait.resource.kind in ("gil", "futex")
        and seen.stack
        and seen.thread.syscall
        and seen.thread.syscall.name == "futex"
        and not seen.thread.syscall.arguments[3]
    )


def link(group: Sequence[SeenThread], objects: PyObjects) -> Mapping[int, Wait]:
    """Return the waits, by thread id, of those who wait for the import lock."""
    idents = {seen.stack.ident: seen for seen in group if seen.stack and seen.stack.ident}
    found = {}
    for seen in suspects(group):
        assert seen.thread.syscall
        assert seen.wait
        word = seen.thread.syscall.arguments[0]
        lock = old_import_lock(objects, word, [ident for ident in idents if ident])
        if lock is None or lock.owner_ident is None:
            continue
        owner = idents[lock.owner_ident]
        pid = seen.process.pid
        resource = Resource(
            kind="module-lock", key=f"module-lock:{pid}:{word:x}", name=f"the import lock of pid {pid}"
        )
        text = f"import lock at {word:#x}: its owner is {lock.owner_ident:#x}, thread {owner.thread.tid}"
        holder = actor(owner.process, owner.thread, owner.stack)
        found[seen.thread.tid] = replace(
            seen.wait,
            resource=resource,
            how=How.BLOCKED,
            where=asked_at(seen.stack),
            words=f"waits for {resource.name} held by thread {owner.thread.tid}{at(seen.stack)}",
            holds=(Hold(holder=holder, resource=resource, since=owner.process.since),),
            evidence=(*seen.wait.evidence, Evidence(source=f"/proc/{pid}/mem", text=text)),
        )
    return found
