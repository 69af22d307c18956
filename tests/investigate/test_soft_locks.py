"""What lock files say: the forms that programs write."""

from __future__ import annotations

import pytest

from diag.investigate.soft_locks import parse


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("1234\n", (1234, None)),
        ("      1234\n", (1234, None)),  # UUCP, LCK..ttyS0
        (" 1234\n", (1234, None)),  # zc.lockfile
        ("pid: 1234", (1234, None)),
        ("1234\nweb-01\n", (1234, "web-01")),  # filelock's soft lock
        ("web-01\n1234\n", (1234, "web-01")),
        ("web-01:1234", (1234, "web-01")),
        ("web-01-1234", (1234, "web-01")),  # Chromium's SingletonLock
        ("127.0.1.1:+1234", (1234, "127.0.1.1")),  # Firefox
        ("joe@web-01.example.org.1234:1700000000", (1234, "web-01.example.org")),  # Emacs
        ("", (None, None)),
        ("hello world\n", (None, None)),
        ("1\n2\n", (None, None)),
        ("a=1\n12\n", (None, None)),
        ("1234567890123", (None, None)),
    ],
)
def test_the_owner_that_a_lock_file_names(text: str, owner: tuple[int | None, str | None]) -> None:
    assert parse(text) == owner
