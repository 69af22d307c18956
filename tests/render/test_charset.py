from __future__ import annotations

from typing import TYPE_CHECKING

from diag.render.charset import spoken
from tests.crashes.logs import START, segfault
from tests.support.cli import diag

if TYPE_CHECKING:
    from pathlib import Path


def test_what_an_encoding_has_stays() -> None:
    assert spoken("|▁█| ü", "utf-8") == "|▁█| ü"
    assert spoken("|▁█| ü", "ascii") == "|.#| ?"
    assert spoken("─ ü", "latin-1") == "- ü"
    assert spoken("─", "no such thing") == "-"
    assert spoken("─", None) == "-"


def test_a_time_line_on_an_old_terminal(tmp_path: Path) -> None:
    log = tmp_path / "messages"
    log.write_text("".join(segfault(START + hour * 3600, tid=hour + 9) + "\n" for hour in range(5)))
    answer = diag("segfaults", log, form="terminal", env={"PYTHONIOENCODING": "ascii"})
    assert answer.stdout.isascii()
    assert "time line |#" in answer.stdout
    assert "█" in diag("segfaults", log, form="terminal", env={"PYTHONIOENCODING": "utf-8"}).stdout
