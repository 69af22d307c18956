"""By what two frames know that they speak of one object: its address, or a way that leads to it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from diag.waits.lock_sites.expressions import resolve

if TYPE_CHECKING:
    from diag.model.facts import Frame

Name: TypeAlias = tuple[str, int | str, str]
"""("object", address, ""), ("attribute", address, "a.b"), ("free", file, "LOCK"): equal names, one object.

An attribute may be set anew and a free name may be another closure's: only memory makes them certain.
"""

_PLAIN = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*\Z")
_CONSTANTS = ("None", "True", "False")


def is_plain(expression: str) -> bool:
    """Whether an expression is a variable or an attribute, and not a call, a subscript or a literal."""
    return _PLAIN.match(expression) is not None and expression not in _CONSTANTS


def name_of(frame: Frame, expression: str) -> Name | None:
    """Name what an expression stands for in a frame; None for calls, subscripts and literals."""
    if not is_plain(expression):
        return None
    local, base = resolve(frame, expression)
    if local is not None:
        return ("object", local.address, "")
    if base is not None:
        return ("attribute", base.address, expression.partition(".")[2])
    # py-spy shows a function's own variables, not those it has from outside: module or closure.
    return ("free", frame.file, expression)
