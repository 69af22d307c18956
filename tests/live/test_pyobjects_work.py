"""Pools, futures, files, plain values and imports in real processes of every interpreter."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING

import pytest

from diag.collectors.pyobjects import files, futures, imports, pools, queues, threads
from diag.host import LiveHost
from diag.host.tape import MAGIC, RecordingHost
from tests.live.test_pyobjects_locks import attach
from tests.support.interpreters import on_pythons
from tests.support.processes import Program, children, futex_word, running, threads_in, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from diag.collectors.pyobjects import PyObjects

pytestmark = pytest.mark.live


@on_pythons()
def test_work(python: str, tmp_path: Path) -> None:
    with running(python, "objects_work.py", tmp_path) as program:
        objects = attach(program.pid)
        check_values(objects, program, tmp_path)
        check_files(objects, program, tmp_path)
        check_pools(objects, program)
        check_queue(objects, program)
        check_threads(objects, program)
        check_imports(objects, program)


@on_pythons("2.7", "3.13")
def test_secrets_are_not_even_read(python: str, tmp_path: Path) -> None:
    with running(python, "objects_work.py", tmp_path) as program:
        recording = RecordingHost(LiveHost(), ["test"])
        objects = attach(program.pid, recording)
        facts = files.facts_of(objects, program.said["lock"])
        assert facts["password"] == "***"
        assert facts["options"] == {"db_password": "***", "host": "db"}
        assert b"correct horse" not in zlib.decompress(recording.dump()[len(MAGIC) :])


def check_values(objects: PyObjects, program: Program, directory: Path) -> None:
    said = program.said
    facts = files.facts_of(objects, said["lock"])
    assert facts["_context.lock_file"] == str(directory / "inner.lock")
    assert facts["_context.timeout"] == -1.5
    assert facts["_stream"].path == str(directory / "held.lock")
    assert facts["counter"] == 2**40
    assert facts["latin"] == "caf\xe9"
    assert facts["u"] == "\u20ac\U0001f600"
    assert files.facts_of(objects, said["slotted"]) == {"path": str(directory / "slotted.lock"), "depth": 7}
    assert files.facts_of(objects, said["old_style"]) == {"path": str(directory / "old.lock")}
    assert objects.type_name(said["old_style"]) == "__main__.OldStyle"
    assert len(objects.items(said["big"])) == 5000
    assert objects.length(said["big"]) == 5000
    last = objects.find(said["big"], "key-4999")
    assert objects.integer(last) == 4999
    assert len(objects.value(said["big"])) == 100
    assert objects.value(said["emptied"]) == (99,)
    assert objects.look(said["loop"])
    assert objects.value(said["loop"]) == [objects.look(said["loop"])]


def check_files(objects: PyObjects, program: Program, directory: Path) -> None:
    for name, file in (("raw", "raw"), ("reader", "raw"), ("builtin", "builtin")):
        found = files.describe(objects, program.said[name])
        assert found, name
        assert (found.path, found.fd, found.closed) == (
            str(directory / file),
            program.said[f"fd_{name}"],
            False,
        )
    closed = files.describe(objects, program.said["closed"])
    assert closed
    assert (closed.fd, closed.closed) == (None, True)


def check_pools(objects: PyObjects, program: Program) -> None:
    said = program.said
    found = {pool.address: pool for pool in pools.find(objects)}
    workers = pools.describe(objects, said["mp_pool"])
    assert workers
    assert len(workers.pids) == workers.max_workers == 2
    assert set(workers.pids) <= set(children(program.pid))
    assert workers.pending == 1
    if "threads" not in said:  # 2.7 has no executors
        return
    executor = found[said["threads"]]
    assert (executor.max_workers, len(executor.threads), executor.queued) == (2, 2, 3)
    assert executor.items[0] == said["queued"] or said["queued"] in executor.items
    assert said["inner"] in executor.items
    assert executor.shutdown is False
    assert executor.queue
    assert len(queues.items(objects, executor.queue.address)) == 3
    inner = futures.describe(objects, said["inner"])
    assert inner
    assert inner.state == "PENDING"
    assert inner.condition
    assert set(inner.condition.waiters) <= _sleeping_on(program)
    assert len(inner.condition.waiters) == 1
    done = futures.describe(objects, said["done"])
    assert done
    assert done.state == "FINISHED"
    processes = pools.describe(objects, said["processes"])
    assert processes
    assert (processes.max_workers, processes.pending) == (1, 1)
    assert set(processes.pids) <= set(children(program.pid))
    assert processes.items == (said["in_process"],)


def check_queue(objects: PyObjects, program: Program) -> None:
    found = queues.describe(objects, program.said["mp_queue"])
    assert found
    assert (found.maxsize, found.length) == (4, 0)
    assert found.not_full
    assert found.not_full.count == 3
    assert found.mutex
    assert found.mutex.locked is False
    if objects.version >= (3,):
        assert found.reader_fd == program.said["fd_mp_queue"]


def _sleeping_on(program: Program) -> set[int]:
    """The words on which threads sleep without a time limit."""
    tids = threads_in(program.pid, "futex")
    return {futex_word(program.pid, tid) for tid in tids if _endless(program, tid)}


def _endless(program: Program, tid: int) -> bool:
    with open(f"/proc/{program.pid}/task/{tid}/syscall", encoding="ascii") as file:
        words = file.read().split()
    return len(words) > 4 and words[4] == "0x0"


def check_threads(objects: PyObjects, program: Program) -> None:
    found = {thread.ident: thread for thread in threads.threads(objects)}
    wants = found[program.said["ident_wants_import"]]
    assert (wants.name, wants.address, wants.daemon) == ("wants", program.said["wants"], True)
    assert wants.target
    assert wants.target.startswith(f"objects_work.py:{program.said['line_importer']} in importer")
    if wants.tid:
        assert wants.tid in map(int, os.listdir(f"/proc/{program.pid}/task"))
    assert "MainThread" in {thread.name for thread in found.values()}


def check_imports(objects: PyObjects, program: Program) -> None:
    holds, wants = program.said["ident_holds_import"], program.said["ident_wants_import"]
    if objects.version < (3,):
        words = _sleeping_on(program)
        idents = {thread.ident for thread in threads.threads(objects) if thread.ident}
        found = [lock for word in words if (lock := imports.old_import_lock(objects, word, idents))]
        assert [lock.owner_ident for lock in found] == [holds]
        return

    def waits() -> bool:
        objects.forget()
        return wants in imports.import_waits(objects)

    wait_until(waits, "the second import waits")
    lock = next(lock for lock in imports.import_locks(objects) if lock.name == "never_done")
    assert imports.import_waits(objects)[wants] == lock.address
    assert (lock.kind, lock.owner_ident) == ("module-lock", holds)
