"""What is installed is complete: built as users build it, run from the wheel alone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from diag.rules.catalogue import CATALOGUE
from tests.support.locked import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the unpacked wheel. hatchling is here already, so no network is needed."""
    directory = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = directory.glob("diag-*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(directory / "site")
    return directory / "site"


def run(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "diag", *words],
        env={**os.environ, "PYTHONPATH": str(site)},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_holds_pages_and_demo_programs_and_no_tests(installed: Path) -> None:
    pages = {path.name for path in (installed / "diag" / "docs" / "rules").iterdir()}
    assert pages == {path.name for path in (ROOT / "docs" / "rules").glob("*.md")}
    assert (installed / "diag" / "demos" / "programs" / "common.py").is_file()
    assert not (installed / "tests").exists()


def test_explain_from_the_wheel(installed: Path) -> None:
    done = run(installed, "explain", "L001")
    assert done.returncode == 0, done.stderr
    assert "## What it rests on" in done.stdout
    assert done.stdout.startswith(f"# L001 {CATALOGUE[0].slug}")


def test_it_is_really_the_wheel_that_runs(installed: Path) -> None:
    code = "import diag; print(diag.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(installed))


@pytest.mark.live
def test_a_demo_from_the_wheel(installed: Path) -> None:
    done = run(installed, "demo", "stopped-holder")
    assert done.returncode == 0, done.stderr
    assert "L004" in done.stdout
