"""The second founding incident on the real software: uWSGI's spool() releases what it has only borrowed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support import uwsgi
from tests.support.cli import diag

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.live


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A place for cores, which are large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("version", sorted(uwsgi.RELEASES))
def test_the_interpreter_is_the_victim_and_uwsgi_the_first_suspect(version: str, directory: Path) -> None:
    death = uwsgi.die(version, directory)
    answer = diag("core", death.core, "--log", death.log)
    # Now and then the C library notices it first: then the heap is the victim, with the same suspects.
    assert answer.code == 3, answer
    assert answer.codes in (["C002"], ["C006"]), answer
    found = answer.found(answer.codes[0])
    assert found["victims"][0]["tid"] == answer.json["core"]["fault"]["tid"]
    assert "look first at uwsgi" in found["summary"]
    first = answer.json["core"]["suspects"][0]
    assert first["library"] == str(death.program), answer
    if answer.codes == ["C006"]:
        return
    assert found["culprit"] == {"library": "uwsgi", "symbol": first["function"] or None, "offset": None}
    release = uwsgi.RELEASES[version]
    assert any("uwsgi.spool()" in line and release in line for line in found["remedy"]), answer
    # PYTHONMALLOC is unknown to 2.7, and a program that embeds 3.6 does not heed it.
    assert not any(line.startswith("PYTHONMALLOC=debug") for line in found["check"]), answer
    assert any("--with-pydebug" in line and "--spooler" in line for line in found["check"])
