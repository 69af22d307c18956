"""The only door to the system: live, recording and replaying hosts are interchangeable.

The latter two are in ``tape``, which loads when a recording is made or replayed.
"""

from diag.host.base import CoreView, Host, Machine
from diag.host.live import LiveHost
from diag.host.records import (
    Answers,
    Clock,
    CoreSource,
    FdLink,
    FileId,
    FileStatus,
    Hit,
    HostInfo,
    Logins,
    Openers,
    OpenFd,
    Outcome,
    Problem,
    Rows,
    Unwound,
    WrongLink,
)

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
