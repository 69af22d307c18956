"""Journal files of systemd, made by systemd's own program."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from tests.support.require import need_tool

if TYPE_CHECKING:
    from pathlib import Path

REMOTE = "/lib/systemd/systemd-journal-remote"


def write_journal(path: Path, *entries: tuple[float, dict[str, str]]) -> Path:
    """Write a journal file of entries: seconds since the epoch, and fields."""
    remote = REMOTE if os.access(REMOTE, os.X_OK) else need_tool("systemd-journal-remote")
    need_tool("journalctl", "systemd")
    export = []
    for number, (at, fields) in enumerate(entries):
        head = {
            "__REALTIME_TIMESTAMP": str(int(at * 1_000_000)),
            "__MONOTONIC_TIMESTAMP": str(1_000_000 + number),
            "_BOOT_ID": "0123456789abcdef0123456789abcdef",
            "_HOSTNAME": "web-01",
        }
        export.append("".join(f"{name}={value}\n" for name, value in {**head, **fields}.items()))
    text = "\n".join(export) + "\n"
    subprocess.run([remote, f"--output={path}", "-"], input=text.encode(), check=True, capture_output=True)
    return path


def kernel(message: str) -> dict[str, str]:
    return {"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel", "PRIORITY": "6", "MESSAGE": message}


def service(name: str, message: str) -> dict[str, str]:
    return {
        "_TRANSPORT": "stdout",
        "SYSLOG_IDENTIFIER": name,
        "_PID": "12",
        "PRIORITY": "6",
        "MESSAGE": message,
    }
