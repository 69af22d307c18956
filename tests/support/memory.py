"""A small memory cgroup, of version 1 or 2, in which a process runs out of memory."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.processes import wait_until
from tests.support.require import need_root, require

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIMIT = 32 << 20  # bytes
_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@contextmanager
def memory_cgroup() -> Iterator[Path]:
    """Yield the file of a cgroup of 32 MiB into which a process writes its number to enter it."""
    need_root()
    second = (_V2 / "cgroup.controllers").exists()
    require(second or (_V1 / "cgroup.procs").exists(), "no memory cgroup controller here")
    home = (_V2 if second else _V1) / f"diagtest{secrets.token_hex(4)}"
    try:
        home.mkdir()
        limit = home / ("memory.max" if second else "memory.limit_in_bytes")
        require(limit.exists(), "the memory controller is not delegated to this container")
        limit.write_text(str(_LIMIT))
        swap = home / ("memory.swap.max" if second else "memory.memsw.limit_in_bytes")
        if swap.exists():
            swap.write_text("0" if second else str(_LIMIT))
        yield home / "cgroup.procs"
    except PermissionError:
        require(False, "cgroups are read-only here")
    finally:
        if home.exists():
            wait_until(lambda: not (home / "cgroup.procs").read_text().strip(), "it is empty", timeout=30)
            os.rmdir(home)
