"""With what a crash began: packages, kernels; and where nothing can be said."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from diag.collectors import package_log
from diag.collectors.log_events import Dating
from diag.model.crash import LogLine
from tests.crashes.logs import START, segfault, stamp
from tests.support.cli import diag

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600.0
AT = LogLine(file="dpkg.log", line=1)
DATING = Dating(START, timezone.utc)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("2026-11-11 06:30:00 upgrade libx1:amd64 1.0-1 1.0-2", "libx1 was upgraded (1.0-1 to 1.0-2)"),
        ("2026-11-11 06:30:00 install libx1:amd64 <none> 1.0-2", "libx1 was installed (1.0-2)"),
        ("2026-11-11T06:30:00+0000 SUBDEBUG Upgrade: libx-1.0-2.el9", "libx-1.0-2.el9 was upgraded"),
        ("Nov 11 06:30:00 Updated: libx-1.0-2.el6.x86_64", "libx-1.0-2.el6.x86_64 was upgraded"),
        ("[2026-11-11T06:30:00+0000] [ALPM] upgraded libx (1.0 -> 1.1)", "libx was upgraded (1.0 -> 1.1)"),
    ],
)  # fmt: skip
def test_what_package_managers_write(line: str, what: str) -> None:
    change = package_log.parse_line(line, AT, DATING)
    assert change is not None
    assert change.what == what
    assert change.time == START - 1800
    assert any(needle in line for needle in package_log.NEEDLES)


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-11 06:30:00 status installed libx1:amd64 1.0-2",
        "2026-11-11 06:30:00 configure libx1:amd64 1.0-2 <none>",
        "2026-11-11 06:30:00 startup packages configure",
        "[2026-11-11T06:30:00+0000] [ALPM] running 'hook'...",
    ],
)
def test_what_changes_nothing(line: str) -> None:
    assert package_log.parse_line(line, AT, DATING) is None


def local(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def logs(home: Path, quiet: float, *changes: str) -> dict[str, Any]:
    """Write hourly crashes, logs that reach back ``quiet`` seconds before them, and a package log."""
    crashes = [segfault(START + hour * HOUR, tid=hour + 9) for hour in range(4)]
    lines = [f"{stamp(START - quiet)} web-01 systemd[1]: Started.", *crashes]
    (home / "messages").write_text("\n".join(lines) + "\n")
    (home / "dpkg.log").write_text("\n".join(changes) + "\n")
    answer = diag("segfaults", home / "messages", env={"TZ": "UTC"})
    (group,) = answer.json["segfaults"]["groups"]
    found: dict[str, Any] = group
    return found


def upgrade(at: float, name: str) -> str:
    return f"{local(at)} upgrade {name}:amd64 1.0 1.1"


def test_the_package_of_the_library_is_named_though_others_changed_later(tmp_path: Path) -> None:
    began = logs(tmp_path, 86400, upgrade(START - 1800, "libx1"), upgrade(START - 60, "tzdata"))["began"]
    assert began == {
        "with": "libx1 was upgraded (1.0 to 1.1)",
        "at": {"file": str(tmp_path / "dpkg.log"), "line": 1},
    }
    assert "first 30 min after libx1 was upgraded" in diag("segfaults", tmp_path).stdout


def test_a_boot_is_a_beginning(tmp_path: Path) -> None:
    boot = f"{stamp(START - 600)} web-01 kernel: [    0.000000] Linux version 6.1.0-9 (gcc) #1 SMP"
    crashes = [segfault(START + hour * HOUR, tid=hour + 9) for hour in range(4)]
    lines = [f"{stamp(START - 86400)} web-01 systemd[1]: Started.", boot, *crashes]
    (tmp_path / "messages").write_text("\n".join(lines) + "\n")
    (group,) = diag("segfaults", tmp_path, env={"TZ": "UTC"}).json["segfaults"]["groups"]
    assert group["began"]["with"] == "the host was booted (Linux 6.1.0-9)"


@pytest.mark.parametrize(
    ("quiet", "changed"),
    [
        (600.0, 300.0),  # the logs do not reach back far enough to tell
        (10 * 86400.0, 2 * 86400.0),  # long before
        (86400.0, -7200.0),  # after it had begun
    ],
)
def test_no_beginning_is_made_up(tmp_path: Path, quiet: float, changed: float) -> None:
    assert logs(tmp_path, quiet, upgrade(START - changed, "libx1"))["began"] is None
