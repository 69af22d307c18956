"""Servers with several workers that all come to stand behind one lock: asked about by their master's pid."""

from __future__ import annotations

import os
import socket
import threading
import urllib.request
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Answer, diag
from tests.support.interpreters import interpreter, on_pythons, packages, version_of
from tests.support.processes import PROGRAMS, children, started, threads_in, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

GUNICORN = {"2.7": "gunicorn==19.10.0", "3.6": "gunicorn==19.10.0"}
CELERY = "celery==5.4.0"


def places(tmp_path: Path) -> dict[str, str]:
    os.mkfifo(tmp_path / "fifo")
    return {"STUCK_LOCK": str(tmp_path / "lock"), "STUCK_FIFO": str(tmp_path / "fifo")}


class Server:
    """A gunicorn under test."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid, self.port = pid, port

    def ask(self, name: str, timeout: float = 100) -> None:
        with suppress(OSError, HTTPException):  # the server is killed while it owes an answer
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{name}", timeout=timeout).read()

    def ask_in_background(self, name: str) -> None:
        threading.Thread(target=self.ask, args=(name,), daemon=True).start()

    def threads_in(self, call: str) -> list[int]:
        return [tid for pid in children(self.pid) for tid in threads_in(pid, call)]


@contextmanager
def gunicorn(python: str, tmp_path: Path, *options: str) -> Iterator[Server]:
    path = packages(python, GUNICORN.get(version_of(python), "gunicorn==23.0.0"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = [python, "-m", "gunicorn.app.wsgiapp", "--preload", "--timeout=300", f"--bind=127.0.0.1:{port}"]
    environment = {**places(tmp_path), "HOME": str(tmp_path)}
    both = Path(f"{path}{os.pathsep}{PROGRAMS}")
    with started([*argv, *options, "served:application"], path=both, env=environment) as (process, errors):

        def answers() -> bool:
            if process.poll() is not None:
                errors.seek(0)
                raise AssertionError(errors.read()[-3000:])
            with suppress(OSError):
                return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read())
            return False

        wait_until(answers, "gunicorn answers", timeout=60)
        yield Server(process.pid, port)


def until_found(code: str, *asked: object, victims: int = 0) -> Answer:
    """Look until the finding shows: one look at processes of a loaded machine may be torn."""
    answers: list[Answer] = []

    def look() -> bool:
        answers.append(diag(*asked))
        found = [one for one in answers[-1].json["findings"] if one["code"] == code]
        return bool(found) and len(found[0]["victims"]) >= victims

    try:
        wait_until(look, f"{code} by {asked}", timeout=40)
    except AssertionError as late:
        raise AssertionError(f"{late}\n{answers[-1]}") from late
    return answers[-1]


@on_pythons("2.7", "3.6", "3.12")
def test_all_workers_want_a_file_lock_whose_holder_waits_for_somebody_else(
    python: str, tmp_path: Path
) -> None:
    with gunicorn(python, tmp_path, "--workers=3") as server:
        server.ask_in_background("file-hold")
        wait_until(lambda: server.threads_in("openat"), "a worker opens the FIFO")
        [holder] = server.threads_in("openat")
        for _ in range(5):
            server.ask_in_background("file")
        wait_until(lambda: len(server.threads_in("flock")) == 2, "the other workers want the lock")
        # The lock is only the middle: at the end of the chain nobody has the FIFO open.
        answer = until_found("P003", "why", server.pid, victims=2)
        finding = answer.found("P003", holder)
        assert finding["culprit"]["where"]["function"] == "file_hold"
        assert {victim["pid"] for victim in finding["victims"]} == set(children(server.pid)) - {holder}
        assert finding["resource"]["path"] == str(tmp_path / "fifo")
        by_lock = until_found("L005", "locks", tmp_path / "lock", victims=2).found("L005", holder)
        assert {victim["pid"] for victim in by_lock["victims"]} == set(server.threads_in("flock"))


@on_pythons("2.7", "3.6", "3.12")
def test_the_only_worker_asks_its_own_server(python: str, tmp_path: Path) -> None:
    with gunicorn(python, tmp_path) as server:
        server.ask_in_background("itself")
        wait_until(lambda: server.threads_in("recv"), "the worker waits for its own answer")
        # The master has the listening socket too, but accepts nothing.
        finding = until_found("P002", "why", server.pid).found("P002")
        assert finding["culprit"]["pid"] in children(server.pid)
        assert finding["culprit"]["where"]["function"] == "itself"


@on_pythons("3.12")
def test_another_worker_answers(python: str, tmp_path: Path) -> None:
    with gunicorn(python, tmp_path, "--workers=2") as server:
        server.ask("itself", timeout=30)
        answer = diag("why", server.pid)
        assert (answer.code, answer.codes) == (0, []), answer


@on_pythons("2.7", "3.12")
def test_a_worker_was_killed_with_the_lock_that_all_share(python: str, tmp_path: Path) -> None:
    with gunicorn(python, tmp_path, "--workers=3") as server:
        server.ask("process-die")
        wait_until(lambda: len(children(server.pid)) == 3, "the master has replaced the worker")
        for _ in range(3):
            server.ask_in_background("process")

        def all_wait() -> bool:
            return len([pid for pid in children(server.pid) if pid in threads_in(pid, "futex")]) == 3

        wait_until(all_wait, "all workers want the lock")
        answer = until_found("T004", "why", server.pid, victims=2)
        finding = answer.found("T004")
        assert answer.codes == ["T004"], answer
        pids = {finding["culprit"]["pid"], *(victim["pid"] for victim in finding["victims"])}
        assert pids == set(children(server.pid))
        assert finding["culprit"]["where"]["function"] == "process"


@on_pythons("3.6", "3.12", "3.13")
def test_all_threads_of_a_worker_want_a_lock_that_one_has_taken_twice(python: str, tmp_path: Path) -> None:
    options = ("--worker-class=gthread", "--workers=1", "--threads=3")
    with gunicorn(python, tmp_path, *options) as server:
        server.ask_in_background("thread-again")
        until_found("T002", "why", server.pid)  # an idle worker's thread sleeps in a futex just as well
        for _ in range(2):
            server.ask_in_background("thread")
        answer = until_found("T002", "why", server.pid, victims=2)
        assert answer.codes == ["T002"], answer
        [worker] = children(server.pid)
        finding = answer.found("T002", worker)
        assert finding["culprit"]["tid"] != worker
        assert finding["culprit"]["where"]["function"] == "thread"
        assert {victim["pid"] for victim in finding["victims"]} == {worker}


@on_pythons("2.7", "3.12")
def test_a_healthy_server_gives_nothing(python: str, tmp_path: Path) -> None:
    with gunicorn(python, tmp_path, "--workers=2") as server:
        for name in ("file", "process", "thread"):
            server.ask(name)
        answer = diag("why", server.pid)
        assert answer.codes == [], answer


def test_healthy_threaded_workers_give_nothing(python: str, tmp_path: Path) -> None:
    with gunicorn(python, tmp_path, "--worker-class=gthread", "--workers=2", "--threads=3") as server:
        for name in ("file", "process", "thread"):
            server.ask(name)
        answer = diag("why", server.pid)
        assert answer.codes == [], answer


@pytest.mark.parametrize("tasks", ["file_hold file_later file_later", ""])
def test_prefork_workers_of_celery(tmp_path: Path, tasks: str) -> None:
    python = interpreter("3.12")
    broker = tmp_path / "broker"
    broker.mkdir()
    environment = {**places(tmp_path), "STUCK_TASKS": tasks, "C_FORCE_ROOT": "1"}
    argv = [python, str(PROGRAMS / "served.py"), str(broker)]
    with started(argv, path=packages(python, CELERY), env=environment) as (process, errors):

        def workers() -> list[int]:
            if process.poll() is not None:
                errors.seek(0)
                raise AssertionError(errors.read()[-3000:])
            return children(process.pid)

        wait_until(lambda: len(workers()) >= 3, "the workers", timeout=60)

        def inside(call: str) -> list[int]:
            return [pid for pid in workers() if pid in threads_in(pid, call)]

        if not tasks:
            wait_until(lambda: len(inside("read")) + len(inside("futex")) >= 3, "the workers are idle")
            assert diag("why", process.pid).codes == []
            return
        [holder] = wait_until(lambda: inside("openat"), "a task opens the FIFO", timeout=60)
        waiting = wait_until(lambda: inside("flock"), "a task wants the lock", timeout=60)
        finding = until_found("P003", "why", process.pid, victims=1).found("P003", holder)
        assert set(waiting) <= {victim["pid"] for victim in finding["victims"]}
        assert finding["culprit"]["where"]["function"] == "file_hold"
