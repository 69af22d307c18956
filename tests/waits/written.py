"""Stacks for source text written in a test: the frame stands on the line marked HERE."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from diag.model.facts import Frame, Local, Stack
from diag.model.source import Source

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "/srv/app.py"


def source_of(text: str, file: str = FILE) -> Source:
    return Source(file=file, text=textwrap.dedent(text).encode())


def frame_at(
    text: str,
    function: str,
    mark: str = "HERE",
    *,
    file: str = FILE,
    values: Mapping[str, str] | None = None,
) -> Frame:
    """Make the frame of ``function`` on the line with ``mark``; ``values``: its locals as py-spy shows them.

    A name with a star is an argument.
    """
    lines = textwrap.dedent(text).splitlines()
    line = next(number for number, line in enumerate(lines, 1) if mark in line)
    return Frame(function=function, file=file, line=line, locals=locals_of(values or {}))


def locals_of(values: Mapping[str, str]) -> tuple[Local, ...]:
    """Make locals: ``<Type at 0x12>`` gets the address it shows, others one of their own."""
    made = []
    for number, (name, value) in enumerate(values.items()):
        head, at, address = value.partition(" at 0x")
        known = int(address.rstrip(">"), 16) if at and head.startswith("<") else 0x1000 + number
        made.append(Local(name=name.strip("*"), value=value, address=known, argument=name.startswith("*")))
    return tuple(made)


def stack_of(*frames: Frame) -> Stack:
    """Make a stack, innermost frame first."""
    return Stack(pid=100, tid=100, thread="MainThread", frames=frames)
