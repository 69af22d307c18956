"""What a test needs of its machine: a visible skip at a desk, a failure in CI."""

from __future__ import annotations

import os
import shutil

import pytest


def require(condition: object, reason: str) -> None:
    """Skip the test with ``reason`` if the machine lacks something; with CI=true fail it.

    A skip in CI would be a hole in the net that nobody sees.
    """
    if condition:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"missing in CI: {reason}", pytrace=False)
    pytest.skip(reason)


def need_root() -> None:
    """Ask for root: servers' users, other users' processes, kernel log."""
    require(os.geteuid() == 0, "needs root: run the tests with sudo to include this one")


def need_tool(name: str, package: str | None = None) -> str:
    """Return the path of a program, or skip with the Debian package that has it."""
    # sbin is not on an ordinary user's PATH, yet servers live there.
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    require(found, f"needs {name}: apt-get install {package or name}")
    assert found
    return found
