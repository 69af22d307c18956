"""The locks section of the terminal report: each lock as a tree of who holds it and who waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree

from diag.render.escape import plain
from diag.render.words import age, person, place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from diag.model.graph import Hold, Wait
    from diag.model.snapshot import Lock, Snapshot

MOST_OPENERS = 12
"""Processes that only have a file open, before the rest is counted."""


def section(snapshot: Snapshot, now: float, *, verbose: bool) -> Iterator[RenderableType]:
    """Yield what to show of the locks; ``now`` is the time of the look, in seconds since the epoch."""
    locks = [lock for lock in snapshot.locks if lock.asked]
    for lock in locks:
        yield tree(lock, now, verbose=verbose)
    for asked in snapshot.asked:
        if asked.form == "missing" or any(lock.resource.path == asked.path for lock in locks):
            continue
        if asked.form == "directory":
            yield Text(f"{plain(asked.path)}: {'the locks below it' if locks else 'no lock below it'}")
            continue
        names = ", ".join(person(actor) for actor in asked.open_by) or "nobody"
        yield Text(f"{plain(asked.path)}: no lock on it; open by {names}")
    if not locks and not snapshot.asked:
        yield Text("no file lock on this host")


def tree(lock: Lock, now: float, *, verbose: bool) -> Tree:
    """Show one lock: who holds it, and below who waits."""
    resource = lock.resource
    title = Text(plain(resource.name), style="bold")
    if resource.mode:
        title.append(f"  {resource.mode}", style="dim")
    if lock.deleted:
        title.append(
            "  (deleted)" if not lock.replaced_by else "  (deleted; the path names a new file)", "red"
        )
    top = Tree(title, guide_style="dim")
    for hold in lock.holders:
        top.add(_holder(hold, now))
    if not lock.holders:
        top.add(Text("held by nobody that can be seen from here", style="yellow"))
    _add_waiters(top, lock.waiters, now)
    shown = lock.open_by if verbose else lock.open_by[:MOST_OPENERS]
    if shown:
        more = len(lock.open_by) - len(shown)
        names = ", ".join(person(actor) for actor in shown) + (f" and {more} more" if more else "")
        top.add(Text(f"open by {names}", style="dim"))
    return top


def _holder(hold: Hold, now: float) -> Text:
    text = Text.assemble(("held by ", "green"), person(hold.holder))
    details = []
    if hold.fd is not None:
        details.append(f"fd {hold.fd}")
    if hold.since:
        details.append(f"running for {age(now - hold.since)}")
    if hold.taker:
        details.append(f"taken by pid {hold.taker}, {'which passed it on' if hold.inherited else 'now gone'}")
    if hold.taken_at:
        details.append(f"taken at {place(hold.taken_at)}")
    if hold.holder.where and hold.holder.where != hold.taken_at:
        details.append(f"now at {place(hold.holder.where)}")
    return text.append(f"  {', '.join(details)}", style="dim") if details else text


def _add_waiters(tree: Tree, waits: tuple[Wait, ...], now: float) -> None:
    """Hang each waiter below the one it queues behind, as the kernel does."""
    branches: dict[int, Tree] = {}
    left = list(waits)
    while left:
        ready = [w for w in left if w.behind is None or w.behind.pid in branches]
        for wait in ready or left[:1]:
            parent = branches.get(wait.behind.pid, tree) if wait.behind else tree
            branches.setdefault(wait.waiter.pid, parent.add(_waiter(wait, now)))
            left.remove(wait)


def _waiter(wait: Wait, now: float) -> Text:
    verb = "polls   " if wait.how.value == "polling" else "waits   "
    text = Text.assemble((verb, "red" if wait.stuck else "yellow"), person(wait.waiter))
    details = [f"for {age(now - wait.since)}"] if wait.since and now - wait.since >= 1 else []
    if wait.where:
        details.append(f"at {place(wait.where)}")
    return text.append(f"  {', '.join(details)}", style="dim") if details else text
