"""Masks the literals of SQL statements: what a program put into them may be anybody's data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from diag.host.records import Answers, Cell, Rows

MASKED = frozenset({"statement", "lock_data"})
"""Columns of an answer that hold what programs put into statements."""
# Shown to nobody, whoever asks.
_SECRET = re.compile(r"\b(?:password|identified)\b", re.IGNORECASE)

_COMMENT = r"/\*.*?(?:\*/|$)|--[ \t][^\n]*|#[^\n]*"
_STRING = r"'(?:[^'\\]|\\.|'')*(?:'|$)"
_DOUBLE = r"\"(?:[^\"\\]|\\.|\"\")*(?:\"|$)"
_DOLLAR = r"\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|$)"
_NAME = r"`[^`]*(?:`|$)|[A-Za-z_@][\w$@]*"
_NUMBER = r"0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"

_MYSQL = re.compile(
    rf"(?P<comment>{_COMMENT})|(?P<literal>{_STRING}|{_DOUBLE})|(?P<name>{_NAME})|(?P<number>{_NUMBER})",
    re.DOTALL,
)
# In PostgreSQL "…" is a name, # an operator, and $1 a parameter.
_STANDARD = re.compile(
    r"(?P<comment>/\*.*?(?:\*/|$)|--[^\n]*)"
    rf"|(?P<literal>{_STRING}|{_DOLLAR})|(?P<name>\"[^\"]*(?:\"|$)|\$\d+|[A-Za-z_@][\w$@]*)"
    rf"|(?P<number>{_NUMBER})",
    re.DOTALL,
)


def answers(given: Answers, dialect: str, *, literals: bool) -> Answers:
    """Mask every column of ``MASKED``; with ``literals`` only statements about passwords."""
    return replace(given, results=tuple(_rows(rows, dialect, literals=literals) for rows in given.results))


def _rows(rows: Rows, dialect: str, *, literals: bool) -> Rows:
    hidden = [number for number, name in enumerate(rows.columns) if name in MASKED]
    if not hidden:
        return rows

    def cell(number: int, value: Cell) -> Cell:
        if number not in hidden or not isinstance(value, str) or (literals and not _SECRET.search(value)):
            return value
        return masked(value, dialect)

    return replace(
        rows, rows=tuple(tuple(cell(n, value) for n, value in enumerate(row)) for row in rows.rows)
    )


def masked(statement: str, dialect: str) -> str:
    """Return a statement with ``?`` for each literal, an empty comment for each, and single spaces."""
    pattern = _MYSQL if dialect == "mysql" else _STANDARD
    return " ".join(pattern.sub(_mask, statement).split())


def _mask(match: re.Match[str]) -> str:
    if match["name"] is not None:
        return match["name"]
    return " " if match["comment"] is not None else "?"
