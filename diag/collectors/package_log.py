"""What package managers write about what they changed: dpkg.log(1), dnf, yum, pacman.

Only whole lines of their own logs are read; a mention elsewhere is none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diag.collectors import timestamps
from diag.model.crash import Change, LogLine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.collectors.log_events import Dating
    from diag.host import Host

NAMES = re.compile(r"(?:dpkg|dnf\.rpm|yum|pacman)\.log(?:[.-]\d+)*(?:\.(?:gz|bz2|xz|zst))?")

NEEDLES = (" upgrade ", " install ", "pgrade: ", "pgraded: ", "nstall: ", "nstalled: ", "pdated: ", "[ALPM] ")

_DPKG = re.compile(r" (?P<done>upgrade|install) (?P<name>[^\s:]+)(?::\w+)? (?P<old>\S+) (?P<new>\S+)$")
_RPM = re.compile(r"\b(?P<done>Upgraded?|Updated|Install(?:ed)?): (?P<name>\S+)$")
_PACMAN = re.compile(r"\[ALPM\] (?P<done>upgraded|installed) (?P<name>\S+) \((?P<new>[^)]*)\)$")


def parse_line(text: str, at: LogLine, dating: Dating) -> Change | None:
    """Read one line: what was changed and when; None for all others."""
    match = _DPKG.search(text) or _RPM.search(text) or _PACMAN.search(text)
    stamp = timestamps.find(text)
    if match is None or stamp is None:
        return None
    time = timestamps.epoch(stamp, reference=dating.reference, zone=dating.zone)
    if time is None:
        return None
    told = match.groupdict()
    versions = " to ".join(
        word for word in (told.get("old"), told.get("new")) if word not in {None, "<none>"}
    )
    done = "installed" if told["done"].lower().startswith("install") else "upgraded"
    what = f"{told['name']} was {done}{f' ({versions})' if versions else ''}"
    return Change(time=time, what=what, name=told["name"], at=at, text=text)


def collect(host: Host, path: str, dating: Dating) -> Iterator[Change]:
    """Read all changes of one log. Raises ``OSError``."""
    for batch in host.search(path, NEEDLES, lambda _: 0):
        for hit in batch:
            at = LogLine(file=path, line=hit.number)
            if change := parse_line(hit.text.decode("utf-8", "replace"), at, dating):
                yield change
