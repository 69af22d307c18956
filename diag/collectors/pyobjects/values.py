"""Plain values whole, within bounds: what a person would write down of them.

What has a secret's name is not even read, so that no recording holds it; other texts are masked by shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diag.collectors.pyobjects import scalars
from diag.collectors.pyobjects.layouts import FLAG_BYTES, FLAG_DICT, FLAG_LIST, FLAG_TUPLE
from diag.host import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.collectors.pyobjects.reader import Reader

PLAIN_DEPTH = 4


def plain(reader: Reader, address: int, depth: int, most: int) -> Any:
    """Read a value as ``Reader.value`` says."""
    return _Walk(reader, most).value(address, depth, frozenset())


class _Walk:
    """One reading: so many elements of each container, and ten times that in all."""

    def __init__(self, reader: Reader, most: int) -> None:
        self._reader = reader
        self._most = most
        self._left: Iterator[int] = iter(range(10 * most))

    def value(self, address: int, depth: int, above: frozenset[int]) -> Any:
        reader = self._reader
        kind = reader.type_of(address)
        if kind is None or next(self._left, None) is None or kind.name == "NoneType":
            return None
        if kind.name == "bool":
            return reader.truth(address)
        if (number := reader.integer(address)) is not None:
            return number
        if (words := reader.text(address)) is not None:
            return redact.text(words)
        if kind.name == "float":
            return scalars.real(reader.memory, address)
        if kind.flags & FLAG_BYTES:
            return scalars.some_bytes(reader.memory, address, reader.bytes_data)
        if depth <= 0 or address in above:
            return reader.look(address)
        below = above | {address}

        def inner(one: int) -> Any:
            return self.value(one, depth - 1, below)

        if kind.flags & FLAG_DICT:
            pairs = reader.items(address)[: self._most]
            keys = [_key(inner(key)) for key, _ in pairs]
            return {
                key: redact.MASK if isinstance(key, str) and redact.is_secret_name(key) else inner(value)
                for key, (_, value) in zip(keys, pairs, strict=True)
            }
        if kind.flags & FLAG_LIST:
            return [inner(one) for one in reader.elements(address, self._most)]
        if kind.flags & FLAG_TUPLE or reader.length(address) is not None:
            return tuple(inner(one) for one in reader.elements(address, self._most))
        return reader.look(address)


def _key(value: Any) -> Any:
    """Make a value usable as a key whatever was read: a tuple may hold lists."""
    return str(value) if isinstance(value, (list, dict, tuple)) else value
