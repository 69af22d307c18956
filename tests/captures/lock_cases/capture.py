"""Makes the captures beside it anew: ``python -m tests.captures.lock_cases.capture``."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.interpreters import interpreter
from tests.support.processes import PROGRAMS, running, wait_until

HERE = Path(__file__).parent
VERSIONS = ("2.7", "3.6", "3.11", "3.12", "3.13")
SOURCE = PROGRAMS / "lock_cases.py"
ASLEEP = re.compile("nanosleep|poll|select|locks_lock_inode_wait|futex")


def cases(version: str) -> list[str]:
    """Every case that a version can play: 2.7 has no gc.callbacks."""
    main = SOURCE.read_text(encoding="utf-8")
    names = re.findall(r"^def (\w+)\(path\):", main, re.MULTILINE)
    aside = {"report", "hold", "take_lock", *(("collector_reenters",) if version == "2.7" else ())}
    return [name for name in names if name not in aside]


def capture(python: str, case: str, directory: Path) -> Any:
    """Run one case until its main thread sleeps, and return py-spy's words on that thread."""
    with running(python, "lock_cases.py", case, directory) as program:
        wchan = Path(f"/proc/{program.pid}/wchan")
        wait_until(lambda: ASLEEP.search(wchan.read_text(encoding="ascii")), f"{case} to fall asleep")
        words = ["py-spy", "dump", "--json", "--locals", "--pid", str(program.pid)]
        dump = subprocess.run(words, capture_output=True, check=True)
    text = dump.stdout.decode().replace(str(PROGRAMS), "/srv").replace(str(directory), "/run/app")
    home = str(Path(python).resolve().parents[1])
    return json.loads(text.replace(home, "/usr"))


def main() -> None:
    """Write one file a version: case -> dump."""
    shutil.copy(SOURCE, HERE / "source.txt")
    for version in sys.argv[1:] or VERSIONS:
        found = {}
        for case in cases(version):
            with tempfile.TemporaryDirectory() as directory:
                found[case] = capture(interpreter(version), case, Path(directory))
        path = HERE / f"py{version}.json"
        path.write_text(json.dumps(found, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
