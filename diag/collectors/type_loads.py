"""Whether the pointer that an instruction failed on had been read as the type of an object.

A NULL pointer in the interpreter may be anything. But where the register had last been loaded from the second
word of something, as ``Py_TYPE(o)`` is, and then served as a type, the object had none: it was freed or
written over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors import disassembly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.collectors.native_names import Names
    from diag.collectors.pyobjects.memory import Memory
    from diag.model.core import CoreImage

LONGEST = 8192
"""Bytes of a function that are looked through."""
_FIRST_SLOT, _LAST_SLOT = 0x18, 0x1A0  # of a PyTypeObject, after its own header; its size is about 0x1a0


def is_type(names: Names, image: CoreImage, memory: Memory, pc: int, registers: Mapping[str, int]) -> bool:
    """Whether the instruction at ``pc`` used as a type what its function had read from a second word."""
    if image.machine != "x86_64":
        return False
    failed = disassembly.decode(memory.some(pc, disassembly.LONGEST), "x64", "core")
    if failed is None or len(failed.operands) != 1:
        return False
    (operand,) = failed.operands
    start = names.start(pc)
    if operand.base is None or operand.index or operand.base not in registers or start is None:
        return False
    if not _FIRST_SLOT <= operand.displacement <= _LAST_SLOT or not 0 < pc - start <= LONGEST:
        return False
    loads = disassembly.loads(memory.some(start, pc - start), operand.base)
    return loads is not None and loads.displacement == 8 and loads.index is None
