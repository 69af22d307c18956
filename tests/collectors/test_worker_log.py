"""One worker in its service's log: uWSGI, gunicorn and celery as they write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors import worker_log
from diag.host import LiveHost

if TYPE_CHECKING:
    from pathlib import Path

    from diag.model.worker_log import WorkerLog

UWSGI = """\
spawned uWSGI worker 1 (pid: 32354, cores: 1)
spawned uWSGI worker 2 (pid: 323541, cores: 1)
[pid: 323541|app: 0|req: 1/1] 127.0.0.1 () {24 vars in 244 bytes} GET /other => generated 2 bytes
[pid: 32354|app: 0|req: 1/2] 127.0.0.1 () {24 vars in 244 bytes} GET /orders => generated 2 bytes
[spooler] written 186 bytes to file /spool/uwsgi_spoolfile_on_vm_32354_14_1
Fatal Python error: GC object already tracked
DAMN ! worker 1 (pid: 32354) died, killed by signal 6 :( trying respawn ...
Respawned uWSGI worker 1 (new pid: 32629)
[pid: 32629|app: 0|req: 1/3] 127.0.0.1 () {24 vars in 244 bytes} GET / => generated 2 bytes
Fatal Python error: deallocating None
"""
GUNICORN = """\
[2026-11-26 07:00:00 +0000] [100] [INFO] Booting worker with pid: 4711
[2026-11-26 07:00:01 +0000] [4711] [INFO] GET /a
[2026-11-26 07:00:02 +0000] [4712] [INFO] GET /b took 4711 ms
[2026-11-26 07:00:03 +0000] [100] [ERROR] Worker (pid:4711) was sent SIGSEGV!
"""
CELERY = """\
[2026-11-26 07:00:00,000: INFO/MainProcess] Task app.send[b1] received
[2026-11-26 07:00:00,100: INFO/ForkPoolWorker-3] app.send[b1]: sending to 17
[2026-11-26 07:00:00,100: INFO/ForkPoolWorker-31] app.send[b2]: sending to 18
[2026-11-26 07:00:05: ERROR/MainProcess] Process 'ForkPoolWorker-3' pid:812 exited with 'signal 11 (SIGSEGV)'
[2026-11-26 07:00:06,000: INFO/ForkPoolWorker-3] app.send[b4]: sending to 19
"""


def read(tmp_path: Path, text: str, pid: int) -> WorkerLog:
    path = tmp_path / "log"
    path.write_text(text)
    return worker_log.collect(LiveHost(), str(path), pid)


def test_uwsgi(tmp_path: Path) -> None:
    log = read(tmp_path, UWSGI, 32354)
    assert log.worker == "1"
    assert log.began
    assert log.began.at.line == 1
    assert [line.at.line for line in log.last] == [4]
    assert log.death
    assert log.death.at.line == 7
    assert [line.text for line in log.words] == ["Fatal Python error: GC object already tracked"]


def test_a_number_used_again_is_another_worker(tmp_path: Path) -> None:
    log = read(tmp_path, f"{UWSGI}Respawned uWSGI worker 3 (new pid: 32354)\n", 32354)
    assert (log.worker, log.death, log.last) == ("3", None, ())


def test_gunicorn(tmp_path: Path) -> None:
    log = read(tmp_path, GUNICORN, 4711)
    assert log.began
    assert [line.at.line for line in log.last] == [2]
    assert log.death
    assert "SIGSEGV" in log.death.text


def test_celery_names_its_workers(tmp_path: Path) -> None:
    log = read(tmp_path, CELERY, 812)
    assert log.worker == "ForkPoolWorker-3"
    assert ["b1" in line.text for line in log.last] == [True]


def test_a_log_that_does_not_know_the_process(tmp_path: Path) -> None:
    log = read(tmp_path, UWSGI, 5)
    assert (log.count, log.worker, log.began, log.death) == (0, None, None, None)
