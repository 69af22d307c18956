"""The real command line, run as its users run it: a program of its own, seen from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support import contract
from tests.support.locked import ROOT
from tests.support.require import need_root, need_tool, require

if TYPE_CHECKING:
    from collections.abc import Sequence

NOBODY = 65534


class Answer(NamedTuple):
    """What one run of diag gave back."""

    code: int
    stdout: str
    stderr: str
    json: dict[str, Any]  # {} unless it was asked for JSON and gave some

    @property
    def codes(self) -> list[str]:
        """The codes of all findings."""
        return [finding["code"] for finding in self.json["findings"]]

    def found(self, code: str, pid: int | None = None) -> dict[str, Any]:
        """Return the one finding of this code (whose culprit is ``pid``); shows all if it is not there."""
        matching = [
            finding
            for finding in self.json["findings"]
            if finding["code"] == code and pid in (None, (finding["culprit"] or {}).get("pid"))
        ]
        assert len(matching) == 1, f"{len(matching)} x {code} by {pid} in:\n{self}"
        only: dict[str, Any] = matching[0]
        return only

    def __repr__(self) -> str:
        """Everything, for the message of a failed test."""
        return f"exit {self.code}\n{self.stdout}\n{self.stderr}"


def diag(
    *args: object,
    form: str = "json",
    within: Sequence[str] = (),
    env: dict[str, str] | None = None,
    stdin: str | None = None,
    timeout: float = 60,
) -> Answer:
    """Run ``diag ARGS``; a run over ``timeout`` seconds fails the test.

    ``within`` is put before the interpreter: ``in_new_pid_namespace()``, ``inside(pid)``. For an
    ordinary user see ``diag_as_nobody``.
    """
    command = [*within, sys.executable, "-m", "diag", *_words(args, form)]
    return _run(command, env or {}, stdin or "", timeout)


def diag_as_nobody(*args: object, form: str = "json", timeout: float = 60) -> Answer:
    """Run ``diag ARGS`` as a user with no rights, whatever the tests themselves run as (root)."""
    need_root()
    python, env = _public_python()
    return _run([*_as_nobody(), python, "-m", "diag", *_words(args, form)], env, "", timeout)


def in_new_pid_namespace() -> tuple[str, ...]:
    """Return the prefix that runs a command as pid 1 of a pid namespace with its own /proc."""
    need_root()
    return (need_tool("unshare", "util-linux"), "--pid", "--fork", "--kill-child", "--mount-proc")


def inside(pid: int) -> tuple[str, ...]:
    """Return the prefix that runs a command in the pid and mount namespaces of ``pid``."""
    need_root()
    return (need_tool("nsenter", "util-linux"), "--target", str(pid), "--pid", "--mount")


def _words(args: tuple[object, ...], form: str) -> list[str]:
    options = [] if form == "terminal" else ["--format", form]
    # Options go first: "diag record -- locks" takes all that follows for its own command.
    return [str(args[0]), *options, *map(str, args[1:])]


def _run(argv: Sequence[str], env: dict[str, str], stdin: str, timeout: float) -> Answer:
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
            cwd="/",  # so that nothing is found only because we stand in the repository
            env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        )
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"diag did not end within {timeout:g} s: {argv}\n{late}") from late
    assert "Traceback (most recent call last)" not in done.stderr, done.stderr
    found = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    if {"schema", "verdict"} <= found.keys():
        # A demo's own exit code says whether diag found what was staged.
        contract.check(done.stdout, None if "demo" in argv else done.returncode)
    return Answer(done.returncode, done.stdout, done.stderr, found)


def _as_nobody() -> tuple[str, ...]:
    user = str(NOBODY)
    return (
        need_tool("setpriv", "util-linux"), "--reuid", user, "--regid", user, "--clear-groups",
        "--inh-caps", "-all", "--bounding-set", "-all", "--no-new-privs",
        "env",  # setpriv itself still has all rights when it executes its command
    )  # fmt: skip


@cache
def _public_python() -> tuple[str, dict[str, str]]:
    """Find an interpreter that nobody may run and that can import diag, with its environment.

    The one that runs the tests may lie under /root, which others may not enter; then Debian's
    own does, with the libraries of ours, if it is the same version.
    """
    libraries, programs = sysconfig.get_path("platlib"), os.path.dirname(sys.executable)
    env = {
        "PYTHONPATH": f"{ROOT}:{libraries}",
        "PATH": f"{programs}:{os.environ.get('PATH', '')}",  # py-spy lies there
        "HOME": "/nonexistent",
    }
    candidates = (sys.executable, "/usr/bin/python3")
    usable = [python for python in candidates if _imports_diag(python, env)]
    require(
        usable,
        f"user {NOBODY} can run neither {sys.executable} nor a /usr/bin/python3 of its version:"
        f" give others the right to read {ROOT} and {libraries}",
    )
    return usable[0], env


def _imports_diag(python: str, env: dict[str, str]) -> bool:
    modules = "diag.cli, ahocorasick_rs, click, msgspec, psutil, rich"
    done = subprocess.run(
        [*_as_nobody(), python, "-c", f"import {modules}"],
        capture_output=True,
        check=False,
        cwd="/",
        env={**os.environ, **env},
    )
    return done.returncode == 0
