"""Every published code: one list for rules, ``diag explain`` and the documentation.

A code once published never changes its meaning; new ones go to the end of their family. A code
stands here before its rule exists, so that its meaning is settled before anybody relies on it.
"""

from __future__ import annotations

from typing import NamedTuple

FAMILIES = {
    "L": "file locks",
    "T": "threads and tasks of one process",
    "P": "processes, pipes, sockets and devices",
    "C": "crashes",
    "D": "databases",
}


class Entry(NamedTuple):
    """One published code: its name, and its meaning in one line."""

    code: str
    slug: str
    meaning: str


CATALOGUE: tuple[Entry, ...] = (
    Entry(
        "L001",
        "self-deadlock",
        "a thread waits for a file lock that its own process holds "
        "(handler re-entry, nested call, second fd)",
    ),
    Entry(
        "L002",
        "lock-cycle",
        "threads/processes wait for each other in a ring that includes a file lock",
    ),
    Entry(
        "L003",
        "inherited-lock",
        "the lock lives on in an fd inherited or passed on; its taker is gone or is not the keeper",
    ),
    Entry("L004", "stopped-holder", "the holder is stopped, traced or frozen"),
    Entry(
        "L005",
        "stuck-holder",
        "the holder itself waits for something else: the chain's end is named",
    ),
    Entry(
        "L006",
        "idle-holder",
        "the holder keeps the lock while it sleeps, idles or works, and others wait",
    ),
    Entry(
        "L007",
        "replaced-lock-file",
        "the locked inode is no longer what the path names: two owners of one path",
    ),
    Entry(
        "L008",
        "stale-lock-file",
        "a lock by existence (pid file, soft lock) whose owner is dead",
    ),
    Entry("T001", "thread-deadlock", "threads of one process wait for each other's in-process locks"),
    Entry(
        "T002",
        "lock-reentry",
        "a thread waits for a non-reentrant lock it holds itself (signal handler, `__del__`, nested call)",
    ),
    Entry(
        "T003",
        "fork-held-lock",
        "the child waits for a lock copied locked by fork; its owner thread does not exist here",
    ),
    Entry("T004", "dead-owner", "a shared semaphore/robust mutex whose owner died holding it"),
    Entry(
        "T005",
        "pool-exhaustion",
        "every worker of a pool waits for work that is queued behind them",
    ),
    Entry(
        "T006",
        "blocked-event-loop",
        "a blocking call runs inside an event loop or gevent hub",
    ),
    Entry("T007", "held-gil", "a thread blocks in native code without releasing the GIL"),
    Entry("T008", "import-deadlock", "threads wait for each other's module locks"),
    Entry("T009", "task-deadlock", "coroutines/greenlets wait for each other"),
    Entry(
        "T010",
        "lost-wakeup",
        "a thread waits for a notification that nobody left can or will send",
    ),
    Entry(
        "T011",
        "shared-lock-cycle",
        "processes wait for each other's shared locks (multiprocessing), or for each other to end, in a ring",
    ),
    Entry(
        "T012",
        "leaked-lock",
        "a thread or task waits for an in-process lock that was taken and never released",
    ),
    Entry(
        "P001",
        "pipe-deadlock",
        "a process waits for its child, which waits to write the pipe nobody reads",
    ),
    Entry("P002", "call-cycle", "processes wait for each other's messages in a ring"),
    Entry("P003", "no-peer", "a FIFO, pipe or socket whose other end is nobody"),
    Entry(
        "P004",
        "unanswered-io",
        "a thread waits in the kernel for a disk, NFS, FUSE or another server that does not "
        "answer; device, mount and server process named",
    ),
    Entry(
        "P005",
        "stopped-peer",
        "a thread waits for a process that is not let run (stopped, traced, frozen, throttled): the other "
        "end of a pipe or socket, a child, the owner of a shared lock",
    ),
    Entry(
        "P006",
        "inherited-pipe",
        "a thread waits for the end of a pipe whose writer has ended, while another process keeps the "
        "write end open that it has only inherited",
    ),
    Entry(
        "C001",
        "shared-connection",
        "a database client library used by several threads through one connection",
    ),
    Entry(
        "C002",
        "refcount-corruption",
        "the interpreter died on an object that an extension over-released",
    ),
    Entry("C003", "null-dereference", "read/write near address 0; the field's offset is known"),
    Entry("C004", "stack-overflow", "the fault lies at the end of the faulting thread's stack"),
    Entry(
        "C005",
        "bad-jump",
        "the instruction pointer itself was bad (freed code, NULL call, NX)",
    ),
    Entry("C006", "heap-corruption", "died in the allocator: victim, not culprit"),
    Entry("C007", "out-of-memory", "killed by the kernel or a memory cgroup"),
    Entry(
        "C008",
        "crash-loop",
        "the same crash comes again and again; its period is stated",
    ),
    Entry(
        "C009",
        "replaced-library",
        "the file on disk is no longer the library that is mapped",
    ),
    Entry(
        "C010",
        "fork-unsafe-library",
        "a library that does not survive fork/threads crashed or hangs in a forked child",
    ),
    Entry(
        "C011",
        "bad-instruction",
        "illegal instruction, divide error, bus error, alignment",
    ),
    Entry(
        "C012",
        "unexplained-crash",
        "a process died of a signal, and the logs alone do not tell why",
    ),
    Entry(
        "C013",
        "killed-by-supervisor",
        "a supervisor killed the process: a time limit, a missed watchdog, a stop that took too long, memory",
    ),
    Entry(
        "C014",
        "forbidden-system-call",
        "killed by a seccomp filter for a system call that it forbids",
    ),
    Entry(
        "D001",
        "saturated-pool",
        "a transaction's next statement is queued behind those that wait for its lock",
    ),
    Entry(
        "D002",
        "idle-in-transaction",
        "a client keeps row locks while it does something else; that something is named",
    ),
    Entry(
        "D003",
        "database-cycle",
        "a ring through a database lock and something outside the database",
    ),
    Entry(
        "D004",
        "metadata-lock-queue",
        "DDL waits behind an open transaction and blocks everyone behind it",
    ),
)


def find(name: str) -> Entry | None:
    """Look a code or a slug up, in any case of letters."""
    wanted = name.casefold()
    return next((e for e in CATALOGUE if wanted in (e.code.casefold(), e.slug)), None)


def family(letter: str) -> frozenset[str]:
    """Return all codes that begin with ``letter``."""
    return frozenset(entry.code for entry in CATALOGUE if entry.code[0] == letter)
