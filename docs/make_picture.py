"""Draw README's picture: the verdict of a real ``diag locks`` on a live self-deadlock, as SVG.

Usage: python docs/make_picture.py docs/verdict.svg
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from diag.demos import DEMOS, staged
from diag.diagnose import diagnose
from diag.host import LiveHost
from diag.investigate import locks
from diag.render import terminal

WIDTH = 110  # columns


def verdict() -> tuple[str, str]:
    """Stage the incident and diagnose it: the command as typed, and what it prints on a terminal."""
    host = LiveHost()
    with staged(DEMOS["self-deadlock"]) as stage:
        time.sleep(1)  # so that ages in the picture are not all zero
        snapshot = locks.look(host, [stage.path], pause=True)
        report = diagnose(
            snapshot, command=("locks", stage.path), view="locks", taken_at=host.clock().wall, families="L"
        )
    return f"diag locks {stage.path}", terminal.render(report, host, width=WIDTH, color=True, verbose=False)


def main() -> None:
    """Write the picture to the file that is named on the command line."""
    command, text = verdict()
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {command}\n", style="bold"))
    console.print(Text.from_ansi(text))
    Path(sys.argv[1]).write_text(
        console.export_svg(title="diag locks", unique_id="verdict"), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
