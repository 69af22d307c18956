"""Crash lines that somebody made up, and files that are none: no function, and no failure."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diag.crashes.groups import group
from diag.errors import UsageError
from diag.host import LiveHost
from diag.investigate.crash_code import name
from diag.investigate.places import Places, places
from tests.crashes.logs import kernel, read, segfault

if TYPE_CHECKING:
    from diag.model.crash import CrashGroup

HOST = LiveHost()


def named(root: Path | None, *lines: str) -> tuple[CrashGroup, ...]:
    events = read(*lines)
    return name(HOST, events, group(events), Places(None if root is None else str(root)), lambda _: None)


hexadecimal = st.integers(0, 1 << 64).map(lambda number: f"{number:x}")


@settings(max_examples=60, deadline=None)
@given(
    library=st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40)
    | st.just("x" * 5000),
    numbers=st.lists(hexadecimal, min_size=6, max_size=6),
    error=st.integers(0, 127),
    code=st.binary(max_size=64),
)
def test_forged_lines(library: str, numbers: list[str], error: int, code: bytes) -> None:
    address, ip, sp, offset, base, size = numbers
    line = (
        f"app[7]: segfault at {address} ip {ip} sp {sp} error {error:x} in {library}[{offset},{base}+{size}]"
    )
    words = code.hex(" ").split()
    if words:
        words[len(words) // 2] = f"<{words[len(words) // 2]}>"
    with TemporaryDirectory() as home:
        for one in named(Path(home), kernel(line), kernel(f"Code: {' '.join(words)}")):
            assert one.symbol is None


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\x7fELF\x02\x01\x01" + b"\xff" * 200, b"text\n" * 50])
def test_what_is_no_program_names_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "libx.so").write_bytes(content)
    (found,) = named(tmp_path, segfault())
    assert found.code
    assert (found.symbol, found.code.trouble) == (None, "it can not be read")


def test_another_hosts_log_is_not_explained_by_this_hosts_files() -> None:
    (found,) = named(None, segfault(tail=" in libc.so.6[7f0000001000+2000]"))
    assert found.code
    assert found.symbol is None
    assert "--root" in (found.code.trouble or "")


def test_a_root_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        places(HOST, str(tmp_path / "nowhere"), ())
    with pytest.raises(UsageError):
        places(HOST, None, (str(tmp_path / "nowhere"),))
    assert places(HOST, str(tmp_path), ()).root == str(tmp_path)
