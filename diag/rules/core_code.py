"""Whose code a frame of a core is: the interpreter's, the C library's, an extension's. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.model.facts import Frame
    from diag.model.snapshot import SeenThread, Snapshot

_INTERPRETER = re.compile(r"libpython\d[\w.]*\.so[\d.]*$|^(?:python|pypy)[\d.]*[a-z]*$")
_SYSTEM = re.compile(
    r"^(?:ld-linux|ld-musl|ld-|libc[.-]|libm[.-]|libpthread|libdl|librt|libutil|libgcc_s|libstdc\+\+|libffi|linux-vdso)"
)
_STANDARD = re.compile(r"/python\d[\d.]*/lib-dynload/")
_OF_SYSTEM = re.compile(r"(?:/usr)?/lib(?:32|64)?/")
_LOOP = re.compile(r"_?PyEval_EvalFrame(?:Default|Ex)")
SIGNALLED = frozenset({"<signal handler called>", "__restore_rt", "__kernel_rt_sigreturn"})

OBJECT_WORK = re.compile(
    r"visit_(?:decref|reachable|add|reachable_\w+)|subtract_refs|update_refs|move_\w+|deduce_unreachable"
    r"|untrack_\w+|handle_weakrefs|handle_legacy\w*|finalize_garbage|delete_garbage|clear_\w*freelists?"
    r"|gc_\w+|collect(?:_\w+)?|_?Py(?:Object|Tuple)?_?GC_?\w*|_Py_RunGC|_?PyObject_GC\w*|\w*_?traverse|\w+_tp_clear"
    r"|\w*_?dealloc|_Py_Dealloc|_?Py_X?DECREF|_?Py_INCREF|_PyTrash\w*|_?PyObject_(?:Malloc|Free|Realloc|Calloc|Alloc)"
    r"|pymalloc_\w+|address_in_range|_?PyMem_\w+|PyTuple_New\w*|tuple_alloc|maybe_freelist_\w+|_PyTuple_\w+"
    r"|_Py_NegativeRefcount|_PyObject_AssertFailed|_?Py_NewReference|_?PyObject_New\w*|_?PyObject_Init\w*"
    r"|free_keys_object|dictkeys_\w+|PyType_GenericAlloc|_PyObject_IS_GC|_PyObject_Is(?:Freed|AliveOrMarked)"
    r"|subtype_clear|PyObject_ClearWeakRefs|clear_weakref"
)
"""Functions of CPython, 2.7 to 3.14, that make, free, count or visit objects."""
ALLOCATOR = re.compile(
    r"_?_?(?:libc_)?(?:malloc|free|realloc|calloc|memalign|posix_memalign|aligned_alloc|cfree)(?:@.*)?"
    r"|_int_(?:malloc|free\w*|realloc|memalign)|malloc_(?:printerr|consolidate|\w+)|unlink_chunk\S*|tcache_\w+"
    r"|sysmalloc\w*|systrim\w*|munmap_chunk|arena_\w+|checked_request2size"
)
"""Functions of glibc's and musl's allocators."""
DYING = re.compile(
    r"_*(?:GI_+)?(?:pthread_kill\w*|raise|abort|libc_message\w*|assert_fail\w*|fortify_fail|stack_chk_fail\w*|kill"
    r"|malloc_printerr|pthread_kill_implementation|pthread_kill_internal|libc_fatal|chk_fail)(?:@.*)?"
    r"|__cxa_(?:re)?throw|_ZSt9terminatev|_ZN10__cxxabiv1\w+|_ZN9__gnu_cxx27__verbose_terminate_handlerEv"
    r"|(?:std|__cxxabiv1|__gnu_cxx)::_*(?:verbose_)?terminate(?:_handler)?\(.*"
    r"|fatal_error\w*|_?Py_FatalError\w*|_Py_Fatal\w*|faulthandler_\w+"
)
"""Functions by which a program ends itself."""
_UNCAUGHT = re.compile(r"_ZSt9terminatev|std::terminate\(\)")


def base_name(path: str | None) -> str:
    """The last part of a path."""
    return (path or "").rpartition("/")[2]


def is_interpreter_file(path: str) -> bool:
    """Whether a file is CPython itself: its library, or its program."""
    return bool(_INTERPRETER.search(base_name(path)))


def is_interpreter(frame: Frame) -> bool:
    """Whether a C frame is CPython's own."""
    return frame.native and bool(_INTERPRETER.search(base_name(frame.library)))


def runs_python(frame: Frame) -> bool:
    """Whether a frame is the loop that runs Python code, or the code it runs."""
    return not frame.native or (is_interpreter(frame) and bool(_LOOP.fullmatch(_plain(frame.function))))


def is_extension(path: str | None) -> bool:
    """Whether a file is neither the interpreter, nor its standard library, nor the C and C++ libraries."""
    name = base_name(path)
    if not path or not path.startswith("/") or _INTERPRETER.search(name):
        return False
    return not _SYSTEM.match(name) and not _STANDARD.search(path)


def is_system(path: str) -> bool:
    """Whether a file is one of the C and C++ libraries, or the dynamic loader."""
    return bool(_SYSTEM.match(base_name(path)))


def is_module(path: str) -> bool:
    """Whether a file is an extension module, or a library that came with one: not one of the system's own."""
    if not path.endswith(".so") and ".so." not in base_name(path):
        return False
    return is_extension(path) and ("-packages/" in path or not _OF_SYSTEM.match(path))


def dying(snapshot: Snapshot) -> SeenThread | None:
    """The thread that died, or else the one whose core it is."""
    fault = snapshot.fault
    return next((seen for seen in snapshot.threads if fault and seen.thread.tid == fault.tid), None)


def at_fault(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """The frames from the fault outwards: without what a handler, abort() or raise() did after it."""
    start = 0
    for number, frame in enumerate(frames):
        if frame.function in SIGNALLED:
            start = number + 1
    # What C++ does between throwing and abort() has no names in a stripped libstdc++.
    thrown = (
        n for n, frame in enumerate(frames[start : start + 12], start) if _UNCAUGHT.fullmatch(frame.function)
    )
    left = list(frames[next(thrown, start) :])
    while left and left[0].native and DYING.fullmatch(_plain(left[0].function.partition("@")[0])):
        left.pop(0)
    return tuple(left)


def is_uncaught(snapshot: Snapshot) -> bool:
    """Whether C++ ended the process, for nobody caught an exception."""
    seen = dying(snapshot)
    frames = seen.stack.frames[:12] if seen and seen.stack else ()
    return any(frame.native and _UNCAUGHT.fullmatch(frame.function) for frame in frames)


def frames_at_fault(snapshot: Snapshot) -> tuple[Frame, ...]:
    """The frames of the thread that died, from its fault outwards."""
    seen, fault = dying(snapshot), snapshot.fault
    frames = at_fault(seen.stack.frames) if seen and seen.stack else ()
    caller = fault.called_from if fault else None
    if caller and not any(frame.native for frame in frames[1:]):
        return (*frames[:1], caller, *frames[1:])
    return frames


def in_object_work(frames: Sequence[Frame]) -> bool:
    """Whether the fault happened while the interpreter made, freed, counted or visited an object.

    The three innermost frames of the interpreter count, each with what was inlined into it, whatever they
    called of an allocator; data that was jumped to has no frame of its own, but the name of a type.
    """
    inner = [frame for frame in frames[:24] if frame.native]
    while inner and (ALLOCATOR.fullmatch(inner[0].function) or not is_interpreter(inner[0])):
        if is_extension(inner[0].library) and not re.match(r"Py\w+_Type$", inner[0].function):
            return False
        inner.pop(0)
    places = list(dict.fromkeys(frame.address for frame in inner))[:3]
    return any(OBJECT_WORK.fullmatch(_plain(frame.function)) for frame in inner if frame.address in places)


def works_on_objects(frames: Sequence[Frame]) -> bool:
    """Whether a whole stack tells by its functions alone that the interpreter died at work on an object."""
    return in_object_work(at_fault(frames))


def is_interpreters_work(frames: Sequence[Frame]) -> bool:
    """Whether it was the interpreter's own code that died, or what it called of a C library."""
    own = next((frame for frame in frames if not is_system(frame.library or "")), None)
    return own is not None and (not own.native or is_interpreter(own))


def interpreter_called_allocator(frames: Sequence[Frame]) -> bool:
    """Whether it was the interpreter that called the allocator: it frees each object's memory only once."""
    left = list(frames[:12])
    while (
        left
        and left[0].native
        and (ALLOCATOR.fullmatch(left[0].function) or is_system(left[0].library or ""))
    ):
        left.pop(0)
    return bool(left) and len(left) < len(frames) and is_interpreter(left[0])


def in_allocator(frames: Sequence[Frame]) -> bool:
    """Whether the innermost frame is the C library's allocator."""
    return bool(frames) and bool(ALLOCATOR.fullmatch(frames[0].function))


def _plain(function: str) -> str:
    """A function's name without what compilers append: ``.constprop.0``, ``.cold``, ``.part.1``."""
    return function.partition(".")[0]
