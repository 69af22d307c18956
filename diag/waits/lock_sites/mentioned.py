"""What the code of a frame mentions that is none of its variables: names of its module, and texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.waits.lock_sites.syntax import inside, locate, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.model.facts import Frame
    from diag.model.source import Source

MOST = 200
"""Names and texts of one function that are looked at."""
_QUOTES = "\"'"


def mentioned(frame: Frame, sources: Mapping[str, Source]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what a frame's function has of its module: names (``LOCK``, ``settings.LOCK``), plain texts."""
    position = locate(frame, sources.get(frame.file))
    if position is None:
        return (), ()
    known = {local.name for local in frame.locals}
    names: dict[str, None] = {}
    texts: dict[str, None] = {}
    for node in inside(position.scope):
        if len(names) + len(texts) >= MOST:
            break
        if node.type in ("identifier", "attribute"):
            name = text_of(node)
            if name.partition(".")[0] not in known and name.replace(".", "").isidentifier():
                names[name] = None
        elif node.type == "string" and (text := _plain(text_of(node, 4000))):
            texts[text] = None
    return tuple(names), tuple(texts)


def _plain(literal: str) -> str:
    """The text of a string without escapes and parts to fill in; else ""."""
    body = literal.lstrip("rRuUbB").strip(_QUOTES)
    quoted = literal.endswith(tuple(_QUOTES)) and literal.lstrip("rRuUbB")[:1] in tuple(_QUOTES)
    return body if quoted and "\\" not in body else ""
