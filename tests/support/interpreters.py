"""The interpreters that targets run under, and packages for them.

diag's own Python and the target's Python are two things: programs under test run on every version
that the machine has, from 2.7 and 3.6 up.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.locked import CACHE, one_at_a_time
from tests.support.require import require

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

OLDEST = (3, 6)


@cache
def interpreters() -> dict[str, str]:
    """Every usable version and its program: {"2.7": "/…/python2.7", "3.12": …}, oldest first."""
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    for name in ("2.7", *(f"3.{minor}" for minor in range(OLDEST[1], 20))):
        if path := shutil.which(f"python{name}", path=_search_path()):
            found.setdefault(name, path)
    return dict(sorted(found.items(), key=lambda item: _number(item[0])))


def _search_path() -> str:
    # pyenv's shims answer to every version's name and then fail: its real programs stand in for them.
    places = os.environ.get("PATH", "").split(os.pathsep)
    shims = [Path(place) for place in places if place.endswith("/shims")]
    roots = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")), *(shim.parent for shim in shims)]
    pyenv = [str(home / "bin") for root in roots for home in sorted(root.glob("versions/*"))]
    return os.pathsep.join([*pyenv, *(place for place in places if Path(place) not in shims)])


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def interpreter(version: str) -> str:
    """Return the program of one version; skip (in CI: fail) where the machine lacks it."""
    require(version in interpreters(), f"needs python{version}: pyenv install {version}")
    return interpreters()[version]


def newest() -> str:
    """Return the newest version that is here, such as "3.13"."""
    return list(interpreters())[-1]


def on_pythons(*versions: str | ParameterSet) -> pytest.MarkDecorator:
    """Run a test that has a ``python`` argument once under each version; none named: all here."""
    return pytest.mark.parametrize(
        "python",
        versions or tuple(interpreters()),
        indirect=True,
        ids=lambda version: f"py{version}",
    )


def version_of(python: str) -> str:
    """Return "2.7" for the path of such an interpreter."""
    for version, path in interpreters().items():
        if path == python:
            return version
    raise ValueError(f"not one of the test interpreters: {python}")


def packages(python: str, *pins: str) -> Path:
    """Install pinned packages for ``python`` and return the directory for its PYTHONPATH.

    ``pip install --target`` works with the pip of every version, 2.7 and 3.6 among them, and needs
    no virtual environment. The directory is kept in ``.cache`` for the next run.
    """
    version = version_of(python)
    digest = hashlib.sha256(" ".join(pins).encode()).hexdigest()[:12]
    names = "+".join(re.split("[=<>]", pin)[0] for pin in pins)
    # As in every real installation, so that stacks look as they do there.
    target = CACHE / "packages" / f"py{version}-{names}-{digest}" / "site-packages"
    with one_at_a_time("packages"):
        if not target.is_dir():
            _install(python, pins, target)
    return target


def _install(python: str, pins: tuple[str, ...], target: Path) -> None:
    # Installed beside and renamed: an interrupted run leaves nothing that looks complete.
    part = target.with_name("part")
    shutil.rmtree(part, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--target", str(part), *pins],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    last = done.stderr.strip().splitlines()[-1:] or ["no message"]
    require(done.returncode == 0, f"pip could not install {' '.join(pins)}: {last[0]}")
    part.rename(target)
