"""What the memory of a Python process says of the locks that its frames name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import PyObjects, locks, threads
from diag.model.facts import Gap
from diag.waits.thread_lock import NOBODY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Stack
    from diag.model.pyobjects import LockObject
    from diag.waits.python_locks import Name

MOST_MODULES = 5000
_C_SELF = 24  # PyCFunctionObject.m_self


class LockMemory:
    """Reads locks by the names that frames have for them; knows nothing where memory is closed to us."""

    def __init__(self, inquiry: Inquiry, pid: int) -> None:
        self.objects = inquiry.objects(pid)
        process = inquiry.process(pid)
        if self.objects is None and process:
            why = PyObjects.attach(inquiry.host, process)
            inquiry.gaps.extend([why] if isinstance(why, Gap) else [])
        self._files: dict[str, int] | None = None
        self._locks: dict[Name, LockObject | None] = {}

    def slept_on(self, word: int) -> frozenset[int]:
        """The addresses by which a sleeping thread's lock may be known: its futex, what it is parked on."""
        parked = locks.parked_on(self.objects, word) if self.objects else None
        return frozenset({word, parked}) if parked else frozenset({word})

    def lock(self, name: Name) -> LockObject | None:
        """Read the lock that a name leads to; None when it leads to none that can be read."""
        if name not in self._locks:
            address = self.address(name)
            self._locks[name] = locks.describe(self.objects, address) if self.objects and address else None
        return self._locks[name]

    def address(self, name: Name) -> int | None:
        """Find the object that a name leads to; None when memory does not tell."""
        kind, base, path = name
        if self.objects is None:
            return None
        if kind == "object":
            return int(base)
        steps = path.split(".")
        if kind == "attribute":
            address: int | None = int(base)
        else:
            module = self._module_of(str(base))
            address = self.objects.find(module, steps.pop(0)) if module else None
        for step in steps:
            address = self.objects.attribute(address, step) if address else None
        return address

    def behind(self, name: Name, method: str) -> Iterator[int]:
        """Yield the object that a name leads to, and the one whose method in C its attribute is.

        Such an attribute is what a thread or a piece of work was given to call: ``self._target``.
        """
        address = self.address(name)
        if address is None or self.objects is None:
            return
        yield address
        given = self.objects.attribute(address, method, f"_Thread{method}")  # 2.7 mangles the name
        is_in_c = given is not None and self.objects.is_a(given, "builtin_function_or_method")
        if given and is_in_c and (own := self.objects.memory.word(given + _C_SELF)):
            yield own

    def joined(self, word: int) -> int | None:
        """The Thread whose end a thread that sleeps on a word waits for."""
        if self.objects is None:
            return None
        found = (one for one in threads.threads(self.objects) if self.slept_on(word) & {*one.join_words})
        return next((one.address for one in found), None)

    def places(self, address: int) -> int | None:
        """How many may have a semaphore; None where it does not know that itself."""
        if self.objects is None:
            return None
        number = self.objects.attribute(address, "_initial_value", "_BoundedSemaphore__initial_value")
        return self.objects.integer(number)

    def free_places(self, address: int) -> int | None:
        """How many places of a semaphore nobody has."""
        if self.objects is None:
            return None
        return self.objects.integer(self.objects.attribute(address, "_value", "_Semaphore__value"))

    def _module_of(self, file: str) -> int | None:
        """The dictionary of the module that was loaded from a source file."""
        if self._files is None:
            self._files = dict(self._loaded())
        found = self._files.get(_stem(file))
        if found is None and not file.startswith("/"):  # the main program, named as on the command line
            found = next((at for path, at in self._files.items() if path.endswith(f"/{_stem(file)}")), None)
        return found

    def _loaded(self) -> Iterable[tuple[str, int]]:
        assert self.objects is not None
        for address in list(self.objects.modules.values())[:MOST_MODULES]:
            table = self.objects.module_dict(address)
            file = self.objects.find(table, "__file__") if table else None
            text = self.objects.text(file) if file else None
            if text:
                yield _stem(text), table

    def owners(self, known: Iterable[LockObject], stacks: Iterable[Stack]) -> dict[int, int]:
        """For each word of locks that name their owner: its thread id, or NOBODY of this process."""
        idents = {stack.ident: stack.tid for stack in stacks if stack.ident and stack.tid}
        return {
            word: idents.get(lock.owner_ident, NOBODY)
            for lock in known
            if lock.owner_ident and lock.locked is not False and idents
            for word in lock.futex_words
        }


def _stem(path: str) -> str:
    """A source path without its ending: 2.7 says .pyc for a module that came from its cache."""
    return path.removesuffix("c").removesuffix(".py")
