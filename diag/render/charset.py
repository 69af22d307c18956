"""Shows a report on terminals that do not speak Unicode: lines and bars in ASCII."""

from __future__ import annotations

_ASCII = str.maketrans(
    {
        "▁": ".", "▂": ".", "▃": ":", "▄": ":", "▅": "+", "▆": "+", "▇": "#", "█": "#",
        "─": "-", "━": "-", "│": "|", "└": "+", "├": "+", "┌": "+", "┐": "+", "┘": "+",
        "…": "...", "●": "*", "→": "->", "←": "<-",
    }
)  # fmt: skip


def spoken(text: str, encoding: str | None) -> str:
    """Return the text as it can be written in ``encoding``; what has no likeness there becomes ``?``."""
    encoding = encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    except LookupError:
        return spoken(text, "ascii")
    return text
