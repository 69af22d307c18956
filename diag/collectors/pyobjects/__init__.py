"""Python objects of another process, read from /proc/PID/mem: bounded, read-only, nobody is stopped.

Start here::

    objects = PyObjects.attach(host, process)      # a Gap when there is no interpreter it understands
    objects.look(address)                          # Object(type, address), None when it is no object
    objects.type_name(address)                     # "threading.Condition"; class_names(), is_a()
    objects.follow(address, "a.b")                 # instance, class and module attributes, step by step
    objects.attribute(address, "name")             # address of an instance attribute or slot
    objects.attributes(address)                    # all of them: {name: address}
    objects.value(address)                         # plain values whole, bounded; others stay Object
    objects.items(d), elements(l), length(c)       # addresses inside dict, list, tuple, set, deque
    objects.text(a), integer(a), truth(a)          # one kind of value, or None
    objects.target(a)                              # what a weakref or cell refers to
    objects.module("threading")                    # module globals: {name: address}
    objects.forget()                               # read everything anew: a second sample

Addresses come from py-spy (``Local.address``) and from ``objects.module``. Understood: CPython 2.7 and 3.6
to 3.13, 64-bit, with the GIL (3.14 by its published layout, never tried). Memory changes while it is read:
answers may be torn, and None means "could not be read", never "is not so".

What objects mean is one file a kind; records are in ``diag.model.pyobjects``:

    locks.describe(objects, address)           -> LockObject, of any lock, condition, event, queue, thread …
    locks.settled(objects, address)            the same, once two readings agree
    locks.waited_on(lock, word), parked_on(objects, word)
    threads.threads(objects), thread(objects, a)  -> ThreadObject: name, ident, tid, what join() sleeps on
    queues.describe(objects, a), items(objects, a) -> QueueObject, addresses of what is queued
    futures.describe(objects, a)               -> FutureObject, of concurrent.futures and asyncio
    pools.find(objects), describe(objects, a)  -> PoolObject: workers, queued futures
    asyncio_tasks.tasks(objects), describe(objects, a) -> TaskObject with frames; asyncio's own locks
    greenlets.greenlets(objects)               -> GreenletObject with frames
    green_locks.waits_for(objects, greenlet)   -> LockObject of gevent that has it among its waiters
    instances.of(objects, class), lock_at(objects, words) -> by searching all memory
    imports.import_locks, import_waits, old_import_lock
    files.describe(objects, a), facts_of(objects, a) -> FileObject; an instance's plain attributes
    frames.function_where, generator_frame, chain -> places in the source
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors import maps as mappings
from diag.collectors.pyobjects import interpreter
from diag.collectors.pyobjects.memory import Memory
from diag.collectors.pyobjects.reader import Reader
from diag.collectors.pyspy import is_denied, may_look_hint
from diag.model.facts import Gap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.collectors.maps import Mapping
    from diag.host import Host
    from diag.model.facts import Process

__all__ = ["PyObjects"]

CERTAINTY = frozenset({"T001", "T002", "T003", "T005", "T006", "T008", "T009", "T010", "T012"})
"""Rules that are only likely, or blind, where memory cannot be read."""


class PyObjects(Reader):
    """The objects of one process."""

    def __init__(self, host: Host, pid: int, found: interpreter.Found, maps: Sequence[Mapping]) -> None:
        super().__init__(found.reader.memory, found.reader.layout)
        self.host = host
        self.pid = pid
        self.maps = tuple(maps)
        self.version = found.version
        self.interpreter = found.interpreter
        self.sys = found.sys
        self.wide = found.reader.wide
        self._modules: dict[str, int] | None = None

    @classmethod
    def attach(cls, host: Host, process: Process) -> PyObjects | Gap:
        """Find the interpreter of a process; a ``Gap`` says why there is none that can be read."""
        if is_denied(host, process):
            return _gap(process, "permission denied", may_look_hint(host, process))
        maps = mappings.collect(host, process.pid)
        memory = Memory(host, process.pid, maps)
        found = interpreter.find(memory, maps)
        if isinstance(found, interpreter.Missing):
            return _gap(process, found.reason, "a newer diag may know it")
        return cls(host, process.pid, found, maps)

    def forget(self) -> None:
        """Read objects anew from now on."""
        super().forget()
        self._modules = None

    @property
    def modules(self) -> dict[str, int]:
        """``sys.modules``: name -> address of the module object."""
        if self._modules is None:
            table = self.find(self.sys, "modules")
            self._modules = self.named(table) if table else {}
        return self._modules

    def module(self, name: str) -> dict[str, int]:
        """The globals of an imported module; none when it is not imported."""
        address = self.modules.get(name)
        return self.named(self.module_dict(address)) if address else {}

    def module_global(self, module: str, name: str) -> int | None:
        """Address of one global of an imported module."""
        address = self.modules.get(module)
        return self.find(self.module_dict(address), name) if address else None

    def follow(self, address: int, path: str) -> int | None:
        """Follow ``a.b.c`` from an object or module: its own attributes first, then those of its class."""
        found: int | None = address
        for name in path.split("."):
            if found is None:
                return None
            found = self.attribute(found, name) or self.class_attribute(found, name)
        return found

    def module_dict(self, address: int) -> int:
        """Address of a module object's dictionary; 0 when it is no module."""
        return (self.memory.word(address + 16) or 0) if self.is_a(address, "module") else 0


def _gap(process: Process, reason: str, hint: str) -> Gap:
    return Gap(
        source=f"/proc/{process.pid}/mem",
        hides=f"Python objects of pid {process.pid} ({process.name})",
        reason=reason,
        hint=hint,
        blinds=CERTAINTY,
    )
