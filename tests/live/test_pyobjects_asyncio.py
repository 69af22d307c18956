"""asyncio tasks in real processes: frames, lines and what they await, against what the program says."""

from __future__ import annotations

import pytest

from diag.collectors.pyobjects import asyncio_tasks, futures
from tests.live.test_pyobjects_locks import attach
from tests.support.interpreters import interpreters, on_pythons
from tests.support.processes import running

pytestmark = pytest.mark.live

THREE = [version for version in interpreters() if not version.startswith("2.")]
LOCK_OF = {"ab": "two", "ba": "one", "deep": "event", "queue": "queue"}


@on_pythons(*THREE)
def test_tasks_stand_where_the_program_says(python: str) -> None:
    with running(python, "objects_asyncio.py") as program:
        objects = attach(program.pid)
        found = {task.address: task for task in asyncio_tasks.tasks(objects)}
        said = program.said
        names = [name[5:] for name in said if name.startswith("task_")]
        assert len(found) == len(names) + 1  # and main's own
        for name in names:
            task = found[said[f"task_{name}"]]
            assert task.state == "PENDING"
            assert task.frames[-1].where.line == said[f"line_{name}"], name
            assert task.frames[-1].where.file.endswith("objects_asyncio.py")
            assert len(task.frames) == said[f"depth_{name}"], name
            assert not task.running
            if objects.version >= (3, 8):
                assert task.name == name
        for name, lock in LOCK_OF.items():
            assert found[said[f"task_{name}"]].waits_for == (said[lock],), name
        awaits = found[said["task_task"]].awaits
        assert awaits
        assert awaits.address == said["task_deep"]
        running_tasks = [task for task in found.values() if task.running]
        assert len(running_tasks) == (objects.version >= (3, 7))

        held = asyncio_tasks.describe(objects, said["one"])
        assert held
        assert (held.kind, held.locked, len(held.waiters)) == ("asyncio-lock", True, 1)
        state = futures.describe(objects, held.waiters[0])
        assert state
        assert state.state == "PENDING"
        assert state.callbacks
        event = asyncio_tasks.describe(objects, said["event"])
        queue = asyncio_tasks.describe(objects, said["queue"])
        assert event
        assert queue
        assert (event.count, len(event.waiters)) == (0, 1) or event.count is None
        assert (queue.count, len(queue.waiters)) == (0, 1)
        in_queue = found[said["task_queue"]].frames[-1]
        assert objects.integer(dict(in_queue.locals)["value"]) == 1
