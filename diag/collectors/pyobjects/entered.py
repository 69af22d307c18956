"""What a frame has entered by ``with``: its value stack keeps the ``__exit__`` of each until it is left.

That is so from 2.7 to 3.13 (3.14 keeps function and object apart, and was never tried).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.collectors.pyobjects.frames import Frame
    from diag.collectors.pyobjects.reader import Reader

MOST = 1000
"""Places of a value stack; a function with more is generated, or torn."""
_EXIT = b"__exit__\0"
_IN_C = "builtin_function_or_method"
_METHOD, _SELF = 16, 24  # PyCFunctionObject.m_ml, .m_self; PyMethodObject.im_func, .im_self


def entered(reader: Reader, frame: Frame) -> tuple[int, ...]:
    """The objects that a frame's with statements will leave, the outermost first.

    A running interpreter does not say how high the stack is: after those there may be leftovers of others
    that were left already. How many count, the source tells.
    """
    bottom = frames.stack_of(reader, frame)
    size = reader.field(frame.code, "co_stacksize")
    if reader.layout.parking or not bottom or size is None or not 0 < size <= MOST:
        return ()
    return tuple(_owners(reader, reader.memory.words(bottom, size)))


def _owners(reader: Reader, words: tuple[int, ...]) -> Iterator[int]:
    for word in words:
        if word < 1 << 16 or word % 8:
            continue
        kind = reader.type_of(word)
        if kind is None or kind.name not in ("method", "instancemethod", _IN_C):
            continue
        function, own = reader.memory.words(word + _METHOD, 2) or (0, 0)
        if own and _is_exit(reader, function, own, in_c=kind.name == _IN_C):
            yield own


def _is_exit(reader: Reader, function: int, own: int, *, in_c: bool) -> bool:
    if in_c:
        name = reader.memory.word(function)
        return bool(name) and reader.memory.read(name or 0, len(_EXIT)) == _EXIT
    return reader.class_attribute(own, "__exit__") == function or _old_exit(reader, own) == function


def _old_exit(reader: Reader, own: int) -> int | None:
    """The method of an old-style class of 2.7 {bases 16, dict 24}; its base classes are not asked."""
    if reader.layout.version >= (3,):
        return None
    members = reader.memory.word((reader.memory.word(own + 16) or 0) + 24)
    return reader.find(members, "__exit__") if members else None
