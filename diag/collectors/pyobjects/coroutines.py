"""Coroutines that wait their turn, whatever loop runs them: trio, curio, a loop of the program's own.

Nothing lists them all, so memory is searched; asyncio's tasks are found more cheaply (``asyncio_tasks``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import frames, instances

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.collectors.pyobjects import PyObjects
    from diag.model.pyobjects import TaskFrame

MOST = 2000


def search(objects: PyObjects) -> tuple[int, ...]:
    """Find the coroutines of a process: a second a gigabyte of its memory."""
    kind = objects.module_global("types", "CoroutineType")
    return instances.of(objects, kind, MOST) if kind else ()


def roots(objects: PyObjects, found: Iterable[int]) -> dict[int, tuple[TaskFrame, ...]]:
    """Return those coroutines that are suspended and that no other one awaits, each with its frames."""
    chains = {address: frames.chain(objects, address)[0] for address in found}
    awaited = {frames.delegate(objects, address) for address in chains}
    return {address: chain for address, chain in chains.items() if chain and address not in awaited}
