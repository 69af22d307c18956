"""The source text behind a stack's frames, read as data: nothing of it is ever imported or compiled."""

from __future__ import annotations

import codecs
import contextlib
import re
import stat
from itertools import pairwise
from typing import TYPE_CHECKING

from diag.model.facts import Gap
from diag.model.source import Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.host import Host
    from diag.model.facts import Process

LIMIT = 512 << 10
"""Bytes of source worth reading: the largest code file of the standard library has 0.3 MB."""

SLACK = 2.0
"""Seconds after its start in which a process is still taken to import what it found."""
_STEPS = 200

SOURCE_RULES = frozenset({"L001", "L005", "L006"})
"""Rules that missing source may blind."""

_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")  # PEP 263: in the first two lines
_COMMAND = re.compile(r"-[A-Za-z23]*c\Z")
_UTF8 = re.compile(r"utf[-_]?8(?:[-_]sig)?\Z", re.IGNORECASE)
_TEXT_CODECS = re.compile(
    r"(?:latin|iso|cp|windows|koi8|mac|gb|big5|euc|shift|sjis|ascii|us)[-_\w]*\Z", re.IGNORECASE
)


def collect(host: Host, process: Process, file: str) -> Source | Gap:
    """Read the source file that a frame of ``process`` names, as that process sees the path."""
    if file == "<string>" and (text := _command(process.argv)):
        return Source(file=file, text=to_utf8(text.encode("utf-8", "replace")))
    if not file or file.startswith("<") or "\0" in file:
        return _gap(file, "it has no file: it was compiled from a string, or frozen", "nothing to do")
    path = _seen_by(host, process, file)
    try:
        status = host.status(path)
        if not stat.S_ISREG(status.mode):
            return _gap(file, "it is not a regular file", "nothing to do")
        data = host.read(path, LIMIT + 1)
    except OSError as error:
        return _gap(file, error.strerror or str(error), _hint(host, error))
    if len(data) > LIMIT:
        return _gap(file, f"it is larger than {LIMIT >> 10} KiB", "nothing to do")
    return Source(file=file, text=to_utf8(data), changed=status.modified > process.since + SLACK)


def _command(argv: Sequence[str]) -> str | None:
    """The program that ``python -c`` was given: its frames name it ``<string>``.

    So do those of what exec() runs: a program with an exec() in it is none. Options may stand together:
    ``-Ic``. What comes behind a script's name is the script's own.
    """
    for option, text in pairwise(argv[1:]):
        if _COMMAND.match(option):
            return None if "exec(" in text or "exec " in text else text
        if not option.startswith("-"):
            return None
    return None


def to_utf8(data: bytes) -> bytes:
    """Recode source text by its own declaration (PEP 263); what cannot be decoded becomes U+FFFD.

    Line ends become newlines, so that lines count as Python counts them.
    """
    text = data.removeprefix(codecs.BOM_UTF8)
    name = next((found.group(1) for line in text.split(b"\n", 2)[:2] if (found := _COOKIE.match(line))), b"")
    encoding = name.decode("ascii", "replace")
    if encoding and not _UTF8.match(encoding) and _TEXT_CODECS.match(encoding):
        with contextlib.suppress(LookupError, ValueError):
            text = text.decode(encoding, "replace").encode("utf-8", "replace")
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _seen_by(host: Host, process: Process, file: str) -> str:
    """The path under which we reach what the process calls ``file``."""
    if not file.startswith("/"):
        return f"/proc/{process.pid}/cwd/{file}"
    return _below(host, f"/proc/{process.pid}/root", file) if _lives_elsewhere(host, process.pid) else file


def _below(host: Host, root: str, file: str) -> str:
    """Follow the links of a path inside another root: the kernel would take absolute ones from ours."""
    parts = file.split("/")[::-1]
    at = ""
    for _ in range(_STEPS):
        if not parts:
            break
        part = parts.pop()
        if part in ("", "."):
            continue
        if part == "..":
            at = at.rpartition("/")[0]
            continue
        try:
            target = host.link(f"{root}{at}/{part}")
        except OSError:  # no link, or nothing at all: reading it will tell
            at = f"{at}/{part}"
            continue
        at = "" if target.startswith("/") else at
        parts += target.split("/")[::-1]
    return root + at


def _lives_elsewhere(host: Host, pid: int) -> bool:
    """Whether a process has another root or mount namespace than we; when that is denied, no."""
    try:
        return host.link(f"/proc/{pid}/root") != "/" or host.link(f"/proc/{pid}/ns/mnt") != host.link(
            f"/proc/{host.info.pid}/ns/mnt"
        )
    except OSError:
        return False


def _gap(file: str, reason: str, hint: str) -> Gap:
    return Gap(
        source=file,
        hides=f"the source of {file}: which lines take and hold locks",
        reason=reason,
        hint=hint,
        blinds=SOURCE_RULES,
    )


def _hint(host: Host, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "run diag as root" if host.info.uid != 0 else "root was refused: see 'diag doctor'"
    return "its source is not on this host any more, or never was"
