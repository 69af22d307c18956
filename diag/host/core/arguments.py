"""The whole command line of a core's process, from where the kernel put it on the stack when it began."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diag.host import redact

if TYPE_CHECKING:
    from diag.host.core.memory import CoreMemory

_ABOVE = 256 << 10
"""Bytes below the name of the program (AT_EXECFN) in which environment and arguments are looked for."""
_MOST = 4096
_LONGEST = 32 << 10


def collect(memory: CoreMemory, short: str, execfn: int) -> tuple[str, ...]:
    """Read argv; ``short`` is what NT_PRPSINFO has of it: 80 bytes, with spaces between the words.

    The stack of a new process holds, upwards: argc, the pointers of argv, those of the environment, then the
    strings (fs/binfmt_elf.c). A process may have overwritten them since (setproctitle).
    """
    data = memory.before(execfn, _ABOVE)
    start = execfn - len(data)
    words = [re.escape(word.encode("utf-8", "replace")) for word in short.split(" ")]
    found = re.search(rb"[\0 ]".join(words), data) if words[0] else None
    if found:
        first = start + found.start()
        pointer = data.find(first.to_bytes(8, "little"))
        count = int.from_bytes(data[pointer - 8 : pointer], "little") if pointer >= 8 else 0
        if 0 < count <= _MOST:
            parts = data[found.start() : found.start() + _LONGEST].split(b"\0", count)[:count]
            return tuple(_masked(b"\0".join(parts)))
    return tuple(_masked(short.encode("utf-8", "replace").replace(b" ", b"\0"))) if short else ()


def _masked(data: bytes) -> list[str]:
    return redact.arguments(data).decode("utf-8", "replace").split("\0")
