"""The why section of the terminal report: each chain as a tree, from the process to the cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree

from diag.render.escape import plain
from diag.render.words import age, person, place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from diag.model.graph import Wait
    from diag.model.snapshot import Chain, SeenThread, Snapshot

MOST_THREADS = 30
"""Threads listed with what they do (all of them with -v)."""
_STYLE = {"blocked": "yellow", "polling": "yellow", "running": "green", "timed": "", "idle": "dim"}


def section(snapshot: Snapshot, now: float, *, verbose: bool) -> Iterator[RenderableType]:
    """Yield the chains, then what the other threads do; ``now`` is in seconds since the epoch."""
    shown: set[tuple[int, int]] = set()
    for chain in _longest(snapshot.chains):
        shown.update(_members(chain))
        yield _tree(chain, now)
    left = [
        seen
        for seen in snapshot.threads
        if seen.process.pid in snapshot.roots and (seen.process.pid, seen.thread.tid) not in shown
    ]
    if not left:
        return
    yield Text("What the other threads do" if shown else "What each thread does", style="bold cyan")
    for seen in left if verbose else left[:MOST_THREADS]:
        yield _thread(seen)
    if len(left) > MOST_THREADS and not verbose:
        yield Text(f"  and {len(left) - MOST_THREADS} more (-v)", style="dim")


def _longest(chains: Sequence[Chain]) -> list[Chain]:
    """Leave out each chain that is the end of a longer one: its threads are shown there."""
    kept: list[Chain] = []
    for chain in sorted(chains, key=lambda chain: -len(chain.waits)):
        if not any(_members(chain) <= _members(other) for other in kept):
            kept.append(chain)
    return kept


def _members(chain: Chain) -> set[tuple[int, int]]:
    return {(wait.waiter.pid, wait.waiter.tid or wait.waiter.pid) for wait in chain.waits}


def _tree(chain: Chain, now: float) -> Tree:
    first = chain.waits[0]
    top = Tree(_who(first), guide_style="dim")
    branch = top
    for wait in chain.waits:
        branch = branch.add(_wait(wait, now))
        held = [hold for hold in wait.holds if not hold.passive]
        if not held:
            continue
        if held[0].inherited and held[0].holder.pid == wait.waiter.pid:
            branch.add(Text(f"left locked when pid {held[0].taker} forked this process", style="bold red"))
            break
        if held[0].abandoned:
            line = f"  taken at {place(held[0].taken_at)}" if held[0].taken_at else ""
            branch.add(Text(f"never released: whoever took it is gone{line}", style="bold red"))
            break
        by = "served by " if wait.resource.kind == "io" else "held by "
        text = Text(by, style="green").append(person(held[0].holder), style="not green")
        if held[0].taken_at:
            text.append(f"  taken at {place(held[0].taken_at)}", style="dim")
        if len(held) > 1:
            text.append(f"  and {len(held) - 1} more", style="dim")
        branch = branch.add(text)
    if chain.ring:
        branch.add(Text("the ring closes: none of them can go on", style="bold red"))
    elif chain.end and chain.end.wait and chain.end.wait is not chain.waits[-1]:
        branch.add(Text(plain(chain.end.wait.words), style="bold"))
    if chain.victims:
        count = "1 other thread waits" if chain.victims == 1 else f"{chain.victims} other threads wait"
        top.add(Text(f"{count} behind this chain", style="dim"))
    return top


def _who(wait: Wait) -> Text:
    return Text(person(wait.waiter), style="bold")


def _wait(wait: Wait, now: float) -> Text:
    verb = "polls for " if wait.how.value == "polling" else "waits for "
    text = Text(verb, style="red").append(plain(wait.resource.name), style="yellow")
    if wait.where:
        text.append(f"  at {place(wait.where)}", style="")
    if wait.since and now - wait.since >= 1:
        text.append(f"  for {age(now - wait.since)}", style="dim")
    return text


def _thread(seen: SeenThread) -> Text:
    wait = seen.wait
    name = plain((seen.stack and seen.stack.thread) or seen.thread.name)
    text = Text(f"  pid {seen.process.pid} {name} ({seen.thread.tid})  ")
    return text.append(
        plain(wait.words) if wait else "?", style=_STYLE.get(wait.how.value, "") if wait else ""
    )
