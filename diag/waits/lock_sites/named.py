"""What the locals of frames name: paths, descriptors, objects."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diag.waits.lock_sites.words import is_lock_word, split

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diag.model.facts import Frame, Local

_FD_WORDS = frozenset({"fd", "fileno", "descriptor", "fno"})
_QUOTED_PATH = re.compile(r'"(/[^"\n]+)"')
_FILE_TYPES = frozenset(
    {"file", "TextIOWrapper", "BufferedWriter", "BufferedReader", "BufferedRandom", "FileIO"}
)
_PATH_WORDS = frozenset({"path", "file", "filename", "name", "pidfile", "dir", "directory", "fn"})


def text_value(local: Local) -> str | None:
    """The text of a str local; None for other types and for what py-spy has cut short."""
    value = local.value
    if len(value) < 2 or value[0] not in "\"'" or value[-1] != value[0] or value.endswith(('..."', "...'")):
        return None
    return value[1:-1]


def paths_in(frames: Sequence[Frame]) -> tuple[str, ...]:
    """List the paths that locals of ``frames`` name: those called lock first, then inner frames first.

    A relative path counts only under a name that says it is one; the reader knows the working directory.
    """
    found = sorted(_ranked(frames), key=lambda pair: pair[0])
    return tuple(dict.fromkeys(path for _, path in found))


def _ranked(frames: Iterable[Frame]) -> Iterator[tuple[int, str]]:
    for frame in frames:
        for local in frame.locals:
            if local.value.startswith(("(", "[")):
                yield from ((2, path) for path in _QUOTED_PATH.findall(local.value[:1000]))
            text = text_value(local)
            if not text or "\n" in text or "\0" in text:
                continue
            words = split(local.name)
            locks, paths = any(map(is_lock_word, words)), bool(_PATH_WORDS.intersection(words))
            if text.startswith("/") or (locks and paths and "://" not in text):
                yield (0 if locks else 1 if paths else 2), text


def fds_in(frames: Iterable[Frame]) -> tuple[int, ...]:
    """List the descriptor numbers in int locals whose names say that they are."""
    return tuple(
        dict.fromkeys(
            int(local.value)
            for frame in frames
            for local in frame.locals
            if local.value.isdecimal() and len(local.value) < 8 and _FD_WORDS.intersection(split(local.name))
        )
    )


def files_in(frames: Iterable[Frame]) -> tuple[int, ...]:
    """List the addresses of open file objects in locals, of Python 2 (``file``) and 3."""
    return tuple(
        local.address for frame in frames for local in frame.locals if short_type(local) in _FILE_TYPES
    )


def own_type(frame: Frame) -> str | None:
    """The type of the object whose method a frame runs."""
    return next((short_type(local) for local in frame.locals[:3] if local.name == "self"), None)


def short_type(local: Local) -> str | None:
    """The name of a local's type, without its module: ``TextIOWrapper`` of ``<_io.TextIOWrapper at …>``."""
    return local.type_name.rpartition(".")[2] if local.type_name else None


def addresses_in(frames: Iterable[Frame]) -> tuple[int, ...]:
    """List the objects whose methods run in ``frames``, inner first."""
    own = (local.address for frame in frames for local in frame.locals[:3] if local.name == "self")
    return tuple(dict.fromkeys(own))
