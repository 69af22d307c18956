"""Paths of locks that code names without a variable of its own: by a name of its module, or in its text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.investigate.lock_memory import LockMemory
from diag.waits.lock_sites.mentioned import mentioned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Stack
    from diag.model.source import Ask

LONGEST = 4096
"""Characters of a path (PATH_MAX)."""


def paths(inquiry: Inquiry, stack: Stack, ask: Ask) -> Iterator[tuple[str, str]]:
    """Yield (path, the words for what names it) of the functions between who asks and where it sleeps.

    A path is as its program wrote it: perhaps relative. Names are looked up in memory.
    """
    sources = inquiry.sources(stack)
    memory = LockMemory(inquiry, stack.pid) if inquiry.objects(stack.pid) else None
    for frame in stack.frames[ask.inner : ask.asker + 1]:
        names, texts = mentioned(frame, sources)
        for text in texts:
            if "/" in text:
                yield text, f"{frame.function} names {text}"
        for name in names:
            address = memory.address(("free", frame.file, name)) if memory else None
            found = memory.objects.text(address) if memory and memory.objects and address else None
            if found and len(found) <= LONGEST and "\n" not in found:
                yield found, f"{name} in memory is {found}"
