"""Who has a file open: the pass over all descriptors, in shares and workers, on real processes."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from diag.host import openers as module
from tests.support.processes import started, wait_for_call

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    import pytest

    from diag.host.records import Openers

HOLD = "import signal, sys; kept = open(sys.argv[1]); signal.pause()"


def test_every_share_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARE", 1)
    monkeypatch.setattr(module, "WORTH_A_WORKER", 1)
    path = tmp_path / "file"
    path.touch()
    about = path.stat()
    with ExitStack() as stack:
        pids = []
        for _ in range(5):
            process, _ = stack.enter_context(started([sys.executable, "-c", HOLD, str(path)]))
            wait_for_call(process.pid, "pause")
            pids.append(process.pid)
        answer = module.openers({(about.st_dev, about.st_ino)}, os.getpid(), lambda: None)
    assert [item.pid for item in answer.found] == sorted(pids)
    assert {item.target for item in answer.found} == {str(path)}


def test_a_worker_that_gets_no_answer_leaves_its_shares_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.touch()
    about = path.stat()
    real = module.scan
    with started([sys.executable, "-c", HOLD, str(path)]) as (process, _):
        wait_for_call(process.pid, "pause")

        def scan(pids: Iterable[int], files: Collection[tuple[int, int]]) -> Openers:
            def slow() -> Iterator[int]:
                for pid in pids:
                    if pid == process.pid:
                        time.sleep(600)  # as a dead file server keeps stat(2) waiting
                    yield pid

            return real(slow(), files)

        monkeypatch.setattr(module, "scan", scan)
        monkeypatch.setattr(module, "PATIENCE", 1.0)
        answer = module.openers({(about.st_dev, about.st_ino)}, os.getpid(), lambda: None)
    assert process.pid in answer.denied
    assert answer.found == ()
