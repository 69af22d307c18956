"""What the user asked about: paths become files as the lock tables name them."""

from __future__ import annotations

import errno
import posixpath
import stat
from typing import TYPE_CHECKING

from diag.errors import DiagError
from diag.model.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.host import Host

_FORMS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
_HINTS = {
    errno.EACCES: "a directory on the way is closed to you: run diag as root",
    errno.ELOOP: "its symbolic links lead in a circle: look at them with: namei -l PATH",
    errno.ENAMETOOLONG: "no file can have so long a name",
    errno.EINVAL: "no file can have such a name",
    errno.ENODATA: "a recording answers only the command it was made with: ask for the same paths",
    errno.ETIMEDOUT: "its file system does not answer: see what serves it with: findmnt --target PATH",
}
_ELSE = "look at it with: stat PATH"


class Target(Fact, frozen=True, kw_only=True):
    """One path of the command line."""

    path: str  # absolute
    form: str  # "file", "directory", "fifo", "socket", "device", "missing"
    names: frozenset[str]  # the path as given, made absolute, and without symbolic links
    device: int = 0  # as stat(2) has them
    inode: int = 0
    lock_device: int = 0  # as /proc/locks has them
    lock_inode: int = 0


def resolve(host: Host, paths: Sequence[str]) -> tuple[Target, ...]:
    """Identify each path; one that does not exist is a target too: its locked file may be deleted.

    Raises ``DiagError`` for a path that can not be looked at.
    """
    found = [_resolve(host, path) for path in paths]
    return (*found, *(index for target in found for index in _wal_index(host, target)))


def _wal_index(host: Host, target: Target) -> Iterator[Target]:
    """With a SQLite database in WAL mode, the file on which its locks lie is asked for too.

    Neither is opened here: that would take a lease on it away.
    """
    if target.form == "file":
        # Beside the file itself: SQLite follows a symbolic link first.
        found = [_resolve(host, f"{name}-shm") for name in sorted(target.names)]
        yield from [index for index in found if index.form == "file"][:1]


def _resolve(host: Host, given: str) -> Target:
    if not given:
        raise DiagError("an empty path names no file", hint="is a variable of the shell not set?")
    path = posixpath.normpath(posixpath.join(host.info.cwd, given))
    try:
        found = host.identity(path)
    except (FileNotFoundError, NotADirectoryError):
        return Target(path=path, form="missing", names=frozenset({path, _real(host, path)}))
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else errno.EINVAL
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DiagError(f"{path}: {reason}", hint=_HINTS.get(number or 0, _ELSE)) from error
    return Target(
        path=path,
        form=_FORMS.get(stat.S_IFMT(found.mode), "file"),
        names=frozenset({path, found.path or path}),
        device=found.device,
        inode=found.inode,
        lock_device=found.lock_device,
        lock_inode=found.lock_inode,
    )


def _real(host: Host, path: str) -> str:
    """Name a file that is gone as the kernel would: in the directory that is left."""
    directory, name = posixpath.split(path)
    try:
        return posixpath.join(host.identity(directory).path or directory, name)
    except OSError:
        return path
