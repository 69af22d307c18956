"""Debugging information from a debug server, which is asked only where one is configured."""

from __future__ import annotations

import socket
from http.client import HTTPConnection
from typing import TYPE_CHECKING

from diag.collectors.elf import Code, Image
from diag.collectors.elf.debug_files import Server
from diag.host import LiveHost
from tests.collectors.elf.built import compiled, functions, tool
from tests.support.processes import started, wait_until
from tests.support.require import need_tool

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def serves(port: int, build_id: str) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", f"/buildid/{build_id}/debuginfo")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def test_a_server_is_asked_last_and_only_where_it_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = need_tool("debuginfod")
    need_tool("debuginfod-find", "debuginfod")
    served = tmp_path / "served"
    served.mkdir()
    whole = compiled(served / "libx.so", "-g", "-O0", "-Wl,--build-id")
    start, _ = functions(whole)["divide"]
    stripped = tmp_path / "libx.so"
    tool("strip", "-o", stripped, whole)
    port = free_port()
    server = [program, "-p", str(port), "-d", str(tmp_path / "db"), "-F", str(served)]
    monkeypatch.setenv("DEBUGINFOD_CACHE_PATH", str(tmp_path / "cache"))
    with started(server, env={"DEBUGINFOD_URLS": ""}):
        build_id = Image.open(LiveHost(), str(stripped)).build_id
        wait_until(lambda: serves(port, str(build_id)), "the server to have indexed the library", timeout=60)
        assert line(stripped, start) is None
        monkeypatch.setenv("DEBUGINFOD_URLS", f"http://127.0.0.1:{port}")
        assert line(stripped, start) == "divide"


def line(path: Path, address: int) -> str | None:
    host = LiveHost()
    found = Code(host, Image.open(host, str(path)), server=Server(host)).at(address).line
    return found.function if found else None
