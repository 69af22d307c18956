"""The only door to the system: live, recording and replaying hosts are interchangeable.

The latter two are in ``tape``, which loads when a recording is made or replayed.
"""

from diag.host.base import (
    Answers,
    Clock,
    CoreSource,
    CoreView,
    FdLink,
    FileId,
    FileStatus,
    Hit,
    Host,
    HostInfo,
    Logins,
    Machine,
    Openers,
    OpenFd,
    Outcome,
    Problem,
    Rows,
    Unwound,
    WrongLink,
)
from diag.host.live import LiveHost

__all__ = [
    "Answers",
    "Clock",
    "CoreSource",
    "CoreView",
    "FdLink",
    "FileId",
    "FileStatus",
    "Hit",
    "Host",
    "HostInfo",
    "LiveHost",
    "Logins",
    "Machine",
    "OpenFd",
    "Openers",
    "Outcome",
    "Problem",
    "Rows",
    "Unwound",
    "WrongLink",
]
