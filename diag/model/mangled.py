"""Names of C++ and Rust functions in a readable form, where that is simple.

The whole of the Itanium C++ ABI's mangling refers back to parts of itself, so that a name of a hundred
bytes may stand for one of gigabytes. Only what needs no reference is read here: names and the classes and
name spaces they are in, without templates. Everything else stays as it is.
"""

from __future__ import annotations

import re

_PLAIN = re.compile(r"_ZL?(?=\d)")
_NESTED = re.compile(r"_ZN[rVK]*[RO]?(?=\d)")
_LENGTH = re.compile(r"\d{1,4}")
_SPECIAL = re.compile(r"[CD][0-5]")  # constructors and destructors
_HASH = re.compile(r"h[0-9a-f]{16}")  # the last part of Rust's names


def readable(name: str) -> str:
    """Return ``grpc::Server::start`` for ``_ZN4grpc6Server5startEv``; other names as they are."""
    nested = _NESTED.match(name)
    start = nested or _PLAIN.match(name)
    if start is None:
        return name
    parts, rest = _parts(name, start.end(), 64 if nested else 1)
    if not parts:
        return name
    if not nested:
        return parts[0]
    if special := _SPECIAL.match(name, rest):
        parts.append(("~" if special[0][0] == "D" else "") + parts[-1])
        rest = special.end()
    if name[rest : rest + 1] != "E":
        return name  # a template, an operator or a reference
    if _HASH.fullmatch(parts[-1]) and len(parts) > 1:
        parts.pop()
    return "::".join("(anonymous)" if part.startswith("_GLOBAL__N") else part for part in parts)


def _parts(name: str, place: int, most: int) -> tuple[list[str], int]:
    parts: list[str] = []
    while len(parts) < most and (length := _LENGTH.match(name, place)):
        end = length.end() + int(length[0])
        if end > len(name):
            break
        parts.append(name[length.end() : end])
        place = end
    return parts, place
