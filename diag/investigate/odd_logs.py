"""Named logs in which nothing can be found: empty files, and what is no text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors import journal
from diag.host import unpack
from diag.model.facts import Gap

if TYPE_CHECKING:
    from diag.host import Host

_HEAD = 4096
"""Bytes from which it is told whether a file is text."""
_MOST_ODD = 0.2
"""Share of characters that no text has: some zeros are left in a log by a power failure."""
_CONTROLS = "\t\n\r\f\b\x1b"


def gap(host: Host, path: str) -> Gap | None:
    """Say that a file without a crash line in it is no log; None where it looks like one.

    It was searched all the same, so nothing is hidden: but whoever named it expects something else.
    """
    try:
        head = host.read_at(path, 0, _HEAD)
    except OSError:
        return None
    if not head:
        return Gap(
            source=path,
            hides="nothing",
            reason="the file is empty",
            hint=f"was it rotated? Name its predecessors as well: {path}*",
        )
    readable = unpack.kind_of(head) or head.startswith(journal.MAGIC)
    if not readable and not _is_text(head.decode("utf-8", "replace")):
        return Gap(
            source=path,
            hides="nothing that its bytes show",
            reason="it is no text",
            hint="name a log, or a .gz, .bz2, .xz or .zst of one; a core file is for: diag core FILE",
        )
    return None


def _is_text(text: str) -> bool:
    odd = sum(one == "\ufffd" or (one < " " and one not in _CONTROLS) for one in text)
    return odd <= _MOST_ODD * len(text)
