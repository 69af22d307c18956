"""Which extension modules Python code calls: what the names in its byte code stand for, and who made that."""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from diag.collectors.pyobjects import frames, stacks
from diag.collectors.pyobjects.layouts import FLAG_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diag.collectors.pyobjects import PyObjects

MOST_FRAMES = 40
"""Of a thread, its innermost ones."""
MOST_NAMES = 200
MOST_FUNCTIONS = 200
"""Of one module."""
_BUILT_IN = ("builtin_function_or_method",)
_COMMON = frozenset(name for kind in (list, dict, set, str, bytes) for name in dir(kind))
"""Attributes that are asked of any object: where a module has them too, the code need not mean that."""


class Site(NamedTuple):
    """A function at work: its variables, and what its byte code names."""

    tid: int
    file: str
    words: str  # "handle (svc.py:20)"
    code: int
    globals: int  # address of the dictionary
    locals: tuple[tuple[str, int], ...]


class Origin(NamedTuple):
    """C code that Python code names."""

    library: str  # path of the file
    name: str  # as the code names it: "jobqueue.spool"


def sites(objects: PyObjects, idents: Mapping[int, int]) -> Iterator[Site]:
    """Yield the functions at work in each thread, innermost first; ``idents``: thread pointer -> tid."""
    for state in stacks.states(objects):
        tid = stacks.tid_of(objects, state, idents)
        top = stacks.top(objects, objects.memory.words(state, stacks.WORDS))
        for frame, _ in islice(frames.walk(objects, top), MOST_FRAMES) if tid and top else ():
            assert tid
            each = frames.describe(objects, frame)
            words = f"{each.where.function} ({each.where.file.rpartition('/')[2]}:{each.where.line})"
            yield Site(
                tid, each.where.file, words, frame.code, frames.globals_of(objects, frame), each.locals
            )


class Origins:
    """Tells whose C code the names of byte code lead to."""

    def __init__(self, objects: PyObjects) -> None:
        self._objects = objects
        self._maps = sorted((one.start, one.end, one.path) for one in objects.maps if one.path)
        self._of: dict[tuple[int, int], frozenset[Origin]] = {}
        self._named: dict[int, dict[str, int]] = {}

    def of(self, code: int, namespace: int) -> frozenset[Origin]:
        """What a code object names; ``namespace``: address of its dictionary of globals."""
        if (code, namespace) not in self._of:
            self._of[code, namespace] = frozenset(self._origins(code, namespace))
        return self._of[code, namespace]

    def users(self, namespace: int, variable: str) -> Iterator[tuple[str, frozenset[Origin]]]:
        """Yield the functions of a module that name one of its variables, and what else they name."""
        objects = self._objects
        for name, address in islice(self._names(namespace).items(), MOST_FUNCTIONS):
            if objects.is_a(address, "function"):
                code = objects.memory.word(address + objects.layout.function_code) or 0
                if variable in self._asked(code):
                    yield name, self.of(code, namespace)

    def variables(self, namespace: int) -> Mapping[str, int]:
        """The global variables of a module."""
        return self._names(namespace)

    def _asked(self, code: int) -> tuple[str, ...]:
        found = self._objects.elements_of_tuple(frames.names_at(self._objects, code))[:MOST_NAMES]
        return tuple(name for one in found if (name := self._objects.text(one)) is not None)

    def names(self, code: int, variable: str) -> bool:
        """Whether a code object names a variable that is none of its own."""
        return variable in self._asked(code)

    def _names(self, namespace: int) -> dict[str, int]:
        if namespace not in self._named:
            self._named[namespace] = self._objects.named(namespace) if namespace else {}
        return self._named[namespace]

    def _origins(self, code: int, namespace: int) -> Iterator[Origin]:
        asked, known = self._asked(code), self._names(namespace)
        for name in asked:
            if not (address := known.get(name)):
                continue
            if path := self._library(address):
                yield Origin(path, name)
            if inside := self._objects.module_dict(address):
                for inner in asked:
                    if (
                        inner not in _COMMON
                        and (one := self._names(inside).get(inner))
                        and (path := self._library(one))
                    ):
                        yield Origin(path, f"{name}.{inner}")

    def _library(self, address: int) -> str:
        """The file whose C code an object runs: of a function, a type, an extension module; "" for others."""
        objects = self._objects
        kind = objects.type_of(address)
        if kind is None:
            return ""
        if kind.name in _BUILT_IN:  # {PyMethodDef *m_ml {name, C function}}
            method = objects.memory.word(address + 16) or 0
            return self._file(objects.memory.word(method + 8) or 0)
        if kind.name == "module":
            file = objects.find(objects.module_dict(address), "__file__")
            text = objects.text(file) if file else None
            return text if text and ".so" in text.rpartition("/")[2] else ""
        # A program that is linked against the interpreter has copies of its types (R_X86_64_COPY).
        path = self._file(address if kind.flags & FLAG_TYPE else kind.address)
        return path if ".so" in path.rpartition("/")[2] else ""

    def _file(self, address: int) -> str:
        at = bisect_right(self._maps, (address, 1 << 64, "")) - 1
        return self._maps[at][2] if at >= 0 and address < self._maps[at][1] else ""
