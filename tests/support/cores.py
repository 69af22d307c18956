"""Core dumps of real processes: of living ones by gcore, of dying ones by the kernel."""

from __future__ import annotations

import os
import resource
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.processes import PROGRAMS
from tests.support.require import need_tool, require

if TYPE_CHECKING:
    from collections.abc import Sequence


def gcore(pid: int, directory: Path) -> Path:
    """Take the core of a living process, which lives on."""
    tool = need_tool("gcore", "gdb")
    done = subprocess.run(
        [tool, "-o", str(directory / "core"), str(pid)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    core = directory / f"core.{pid}"
    require(core.exists(), f"gcore could not take a core of {pid}: {done.stderr[-300:]}")
    return core


def die(
    argv: Sequence[str],
    directory: Path,
    *,
    env: dict[str, str] | None = None,
    timeout: float = 60,
    tries: int = 1,
) -> Path:
    """Run a program to its death in ``directory``; return its core, written by the kernel or else by gdb.

    ``tries``: how often one is run that survives or hangs by chance, each for its part of ``timeout``.
    """
    environment = {**os.environ, **(env or {})}
    for _ in range(tries - 1):
        with suppress(subprocess.TimeoutExpired, AssertionError):
            return die(argv, directory, env=env, timeout=timeout / tries)
    if kernel_writes():
        done = subprocess.run(
            argv,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=timeout,
            preexec_fn=allow_cores,
        )
        assert done.returncode < 0, f"{argv} survived: {done}"
        found = [path for path in directory.iterdir() if path.name.split(".")[0] == "core"]
        assert found, f"{argv} died of signal {-done.returncode} without a core"
    else:
        asked = ["-ex", "run", "-ex", "generate-core-file core"]
        subprocess.run(
            [need_tool("gdb"), "-nx", "-batch", *asked, "--args", *argv],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=2 * timeout,
        )
        found = [directory / "core"]
        assert found[0].exists(), f"{argv} survived"
    core = directory / f"dump-{len(list(directory.glob('dump-*')))}"
    found[0].rename(core)
    return core


def kernel_writes() -> bool:
    """Whether the kernel writes cores into the directory of the process itself."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text(encoding="utf-8").strip()
    return bool(pattern) and not pattern.startswith("|") and "/" not in pattern


def allow_cores() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def extension(python: str, directory: Path) -> Path:
    """Compile the faulty extension for an interpreter into ``directory``."""
    asked = [python, "-c", "import sysconfig; print(sysconfig.get_paths()['include'])"]
    headers = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    require((Path(headers) / "Python.h").exists(), f"needs the headers of {python}")
    target = directory / "jobqueue.so"
    options = ["-O1", "-g", "-shared", "-fPIC", f"-I{headers}", "-o", str(target)]
    subprocess.run([need_tool("gcc"), *options, str(PROGRAMS / "overrelease.c")], check=True)
    return target
