"""Functions that crash for what others did: the allocator, the garbage collector, copying functions.

A function's name tells only where the damage was met. These meet all damage of a process, so none of them
is ever the culprit.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.crash import CrashGroup

_LIBC = re.compile(r"(?:libc|ld-musl|libpthread)[.-]")
_ALLOCATORS = re.compile(r"lib(?:je|tc|mi)malloc")
_INTERPRETER = re.compile(r"(?:lib)?python\d[\d.]*m?(?:\.|$)|python$")

# glibc's malloc/malloc.c, musl, jemalloc, tcmalloc, mimalloc, and CPython's Objects/obmalloc.c.
_ALLOCATOR = re.compile(
    r"_int_(?:malloc|free|realloc|memalign)\w*|(?:__)?(?:libc_)?(?:malloc|free|calloc|realloc|memalign|cfree)|"
    r"malloc_consolidate|malloc_printerr|unlink_chunk|tcache_\w+|sysmalloc|systrim|heap_trim|"
    r"(?:je_|tc_|mi_|do_)\w*(?:alloc|free)\w*|arena_\w+|"
    r"_?PyObject_(?:Malloc|Alloc|Free|Realloc|Calloc)|_?PyMem_\w+|pymalloc_\w+|address_in_range"
)
# CPython's Modules/gcmodule.c (Python/gc.c since 3.13), and every type's function for it.
_COLLECTOR = re.compile(
    r"visit_\w+|subtract_refs|update_refs|move_\w*unreachable\w*|deduce_unreachable|gc_\w+|collect\w*|"
    r"untrack_\w+|_?PyGC_\w+|_?PyObject_GC_\w+|\w*_?traverse|"
    r"_?Py\w+_Type"  # no function: an object's type that was called as code
)
_PYTHON = re.compile(r"_?Py[A-Z]")  # CPython's own functions, also in a program that holds it
_RELEASE = re.compile(
    r"_Py_Dealloc|_?Py_X?DECREF|\w*_?dealloc|_Py_NegativeRefcount|delete_garbage|\w+_clear|"
    r"clear_weakref\w*|_?Py(?:Object_Clear|Weakref_Clear)\w*|handle_weakrefs"
)
# They read and write where their caller tells them to.
_ORDERED = re.compile(
    r"(?:__)?(?:mem(?:cpy|move|set|cmp|chr|rchr|pcpy)|st[rp]n?(?:len|cpy|cmp|cat|chr|dup)\w*|str(?:rchr|str|casecmp)|"
    r"wcs\w+|strtol\w*|atoi|v?s?n?f?printf\w*|puts|fwrite|fread)(?:_\w+)*"
)


def names(group: CrashGroup) -> Iterator[str]:
    """Yield the functions at the place of a crash, as the dying one, the table and the lines tell."""
    for event in group.events:
        yield from (str(value) for name, value in event.details if name in {"function", "caller"})
    place = group.code
    if place is None:
        return
    if place.symbol:
        # GCC's own parts of functions: malloc.part.0, collect.constprop.1.
        yield place.symbol.name.partition(".")[0]
    if place.line and place.line.function:
        yield place.line.function
        yield from place.line.inlined_into


def in_interpreter(group: CrashGroup) -> bool:
    """Whether a crash lies in CPython itself: its library, or an executable that holds it."""
    return bool(group.library and _INTERPRETER.match(group.library))


def in_allocator(group: CrashGroup) -> bool:
    """Whether it died in malloc, free or Python's own allocator."""
    library = group.library or ""
    known = _LIBC.match(library) or in_interpreter(group) or _ALLOCATORS.match(library)
    return bool(known) and any(map(_ALLOCATOR.fullmatch, names(group)))


def in_collector(group: CrashGroup) -> bool:
    """Whether it died as Python counted, visited or released objects."""
    found = tuple(names(group))
    embedded = (group.library or "").startswith("uwsgi") and any(map(_PYTHON.match, found))
    return (in_interpreter(group) or embedded) and any(
        _COLLECTOR.fullmatch(one) or _RELEASE.fullmatch(one) for one in found
    )


def notes(group: CrashGroup) -> tuple[str, ...]:
    """Say why the place of a crash is not its cause, where that is so."""
    name, library = next(names(group), None), group.library or ""
    if name is None:
        if not (_LIBC.match(library) or _ALLOCATORS.match(library)):
            return ()
        return (
            f"{library} works on what its callers give it, and which function it was is not known here: "
            "it may be the allocator, which crashes for what others did",
        )
    if in_interpreter(group):
        return (
            f"{name} is Python's own code: it works on objects that others made, and is seldom the one that "
            "damaged them",
        )
    if _LIBC.match(library) and any(map(_ORDERED.fullmatch, names(group))):
        return (
            f"{name} of the C library reads and writes where its caller tells it to: the caller is to blame",
        )
    return ()
