"""Mounted file systems, and who has to answer for them."""

from __future__ import annotations

from diag.model.facts import Fact

_NETWORK = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "9p",
        "virtiofs",
        "ceph",
        "afs",
        "lustre",
        "coda",
        "orangefs",
        "gfs2",
        "ocfs2",
    ]
)


class Mount(Fact, frozen=True, kw_only=True):
    """One line of /proc/PID/mountinfo."""

    id: int
    device: int  # st_dev of the file system: for FUSE also the number of its connection
    point: str  # as the process whose mountinfo it is sees it
    type: str  # "ext4", "nfs4", "fuse.sshfs"
    source: str  # "/dev/sda1", "server:/export", whatever the server chose
    options: str = ""  # of the file system itself

    @property
    def is_fuse(self) -> bool:
        """Whether a process of this host answers for it."""
        return self.type in ("fuse", "fuseblk") or self.type.startswith("fuse.")

    @property
    def is_network(self) -> bool:
        """Whether another machine, or the hypervisor, answers for it."""
        return self.type in _NETWORK


class FileSystem(Fact, frozen=True, kw_only=True):
    """What a thread that sleeps in the kernel wants something of."""

    mount: Mount
    path: str | None = None  # the file
    servers: tuple[int, ...] = ()  # processes that can answer
    certain: bool = True  # False: which mount it is was inferred
    connected: bool = True  # False: which process serves it was inferred
    waiting: int | None = None  # requests without an answer, as the kernel counts them
