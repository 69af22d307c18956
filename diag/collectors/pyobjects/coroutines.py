"""Coroutines that wait their turn, whatever loop runs them: trio, curio, a loop of the program's own.

Nothing lists them all, so memory is searched; asyncio's tasks are found more cheaply (``asyncio_tasks``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import frames, instances

if TYPE_CHECKING:
    from diag.collectors.pyobjects import PyObjects
    from diag.model.pyobjects import TaskFrame

MOST = 2000


def roots(objects: PyObjects) -> dict[int, tuple[TaskFrame, ...]]:
    """Return the suspended coroutines that no other one awaits, by address, each with its frames."""
    kind = objects.module_global("types", "CoroutineType")
    found = instances.of(objects, kind, MOST) if kind else ()
    chains = {address: frames.chain(objects, address)[0] for address in found}
    awaited = {frames.delegate(objects, address) for address in found}
    return {address: chain for address, chain in chains.items() if chain and address not in awaited}
