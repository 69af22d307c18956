"""Names of files as text: Linux has bytes, which may be no UTF-8."""

from __future__ import annotations

_ESCAPED = {0xDC00 + byte: 0x10DC00 + byte for byte in range(0x80, 0x100)}
_RESTORED = {there: here for here, there in _ESCAPED.items()}


def to_text(name: str) -> str:
    """Make a file name from the system printable and storable.

    Linux names are bytes; Python marks those that are no UTF-8 with lone surrogates, which neither
    JSON nor MessagePack can hold. They are moved, one to one, into a private plane; ``to_path``
    moves them back.
    """
    return name if name.isascii() else name.translate(_ESCAPED)


def to_path(text: str) -> str:
    """Undo ``to_text``, for use in a system call."""
    return text if text.isascii() else text.translate(_RESTORED)
