"""A certificate for a test's own server, signed by itself."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.support.require import need_tool

if TYPE_CHECKING:
    from pathlib import Path


def self_signed(directory: Path) -> tuple[Path, Path]:
    """Make a certificate of 127.0.0.1, which is its own authority, and its key."""
    certificate, key = directory / "server.crt", directory / "server.key"
    subprocess.run(
        [
            need_tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", key, "-out", certificate,
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    key.chmod(0o600)
    return certificate, key
