"""``diag demo``: each incident really comes about, is diagnosed by the real command, and ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from diag.cli import cli
from diag.demos import DEMOS, servers, staged
from diag.errors import DiagError
from tests.support.cli import Answer, diag, diag_as_nobody, in_new_pid_namespace
from tests.support.locked import ROOT
from tests.support.processes import read, state, wait_until

pytestmark = pytest.mark.live


def cast(story: str) -> list[int]:
    """Return the pids that the story names, "(supervisor 12, worker 13)"."""
    line = next(line for line in story.splitlines() if re.fullmatch(r"\((\w+ \d+(, )?)+\)", line))
    return [int(pid) for pid in re.findall(r"\d+", line)]


def directory(story: str) -> Path:
    found = re.search(r"\$ diag .*?(/[^?'\s]*/diag-demo-[^/]+)/", story)
    assert found
    return Path(found[1])


def assert_gone(story: str) -> None:
    """All that the demo started has ended, and its directory is removed."""
    where = str(directory(story))
    for pid in cast(story):
        # By command line: the pid may be somebody else's by now. A zombie has none.
        wait_until(partial(lambda pid: where not in read(f"/proc/{pid}/cmdline"), pid), f"{pid} ends")
    wait_until(lambda: not directory(story).exists(), f"{where} is removed")


def assert_found(answer: Answer, name: str) -> None:
    assert answer.code == 0, answer
    assert DEMOS[name].code in answer.codes


@pytest.mark.parametrize("name", DEMOS)
def test_diag_finds_what_the_demo_stages(name: str) -> None:
    answer = diag("demo", name)
    assert_found(answer, name)
    culprit = answer.found(DEMOS[name].code)["culprit"]
    if culprit:  # a stale lock file has none that lives
        assert culprit["pid"] in cast(answer.stderr)
    assert_gone(answer.stderr)


def test_the_self_deadlock_is_told_with_its_handler_and_the_parent_that_signals() -> None:
    answer = diag("demo", "self-deadlock")
    finding = answer.found("L001")
    supervisor = cast(answer.stderr)[0]
    assert "SIGTERM handler" in finding["summary"]
    assert f"pid {supervisor}" in finding["summary"]
    assert any("taken: self_deadlock.py" in item["text"] for item in finding["evidence"])
    assert len(finding["victims"]) == 2, "the other worker, and the newcomer that polls"


def test_without_a_name_it_is_the_self_deadlock_on_a_terminal() -> None:
    answer = diag("demo", form="terminal")
    assert answer.code == 0, answer
    assert answer.stdout.startswith("demo self-deadlock\n")
    assert "L001" in answer.stdout
    assert answer.stderr == ""
    assert_gone(answer.stdout)


@pytest.mark.parametrize("name", ["self-deadlock", "inherited-lock", "saturated-pool"])
def test_as_an_ordinary_user(name: str) -> None:
    answer = diag_as_nobody("demo", name)
    assert_found(answer, name)
    assert_gone(answer.stderr)


@pytest.mark.parametrize("name", ["self-deadlock", "inherited-lock"])
def test_in_a_pid_namespace(name: str) -> None:
    assert_found(diag("demo", name, within=in_new_pid_namespace()), name)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_however_diag_ends_nothing_is_left(number: signal.Signals, tmp_path: Path) -> None:
    said = tmp_path / "stderr"
    with said.open("w") as errors:
        demo = subprocess.Popen(
            [sys.executable, "-m", "diag", "demo", "stopped-holder", "--keep", "--format", "json"],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
    try:
        wait_until(lambda: "until you press Ctrl-C" in said.read_text(), "the incident is there", 60)
        story = said.read_text()
        assert all(state(pid) for pid in cast(story))
        demo.send_signal(number)
        assert demo.wait(20) == {signal.SIGINT: 0, signal.SIGKILL: -9}.get(number, 128 + number)
    finally:
        demo.kill()
        demo.wait()
    assert_gone(story)
    assert "Traceback" not in said.read_text()


def test_when_diag_does_not_find_it_the_demo_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEMOS, "stopped-holder", DEMOS["stopped-holder"]._replace(code="T001"))
    monkeypatch.setattr("signal.signal", lambda *_: None)  # pytest keeps its own handlers
    done = CliRunner().invoke(cli, ["demo", "stopped-holder"], prog_name="diag")
    assert done.exit_code == 1
    assert "should give T001, but diag found L004" in done.output
    assert_gone(done.output)


def test_an_incident_that_can_not_come_about_is_an_error_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("diag.demos.PROGRAMS", str(tmp_path))
    with pytest.raises(DiagError, match=r"did not come about.*No such file"), staged(DEMOS["lock-cycle"]):
        pass


@pytest.mark.parametrize("kind", servers.KINDS, ids=lambda kind: kind.binary)
def test_a_saturated_pool_on_either_server_leaves_nothing(
    kind: servers.Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "KINDS", (kind,))
    with staged(DEMOS["saturated-pool"]) as stage:
        command, dsn = stage.question
        server, service = (pid for _, pid in stage.cast)
        for _ in range(4):  # one look at a loaded machine may be torn
            answer = diag(command, dsn)
            if answer.codes:
                break
        finding = answer.found("D001", service)
        assert "all 4 workers" in finding["summary"]
        assert not answer.json["gaps"], answer
    for pid in (server, service):
        wait_until(partial(lambda pid: "diag-demo" not in read(f"/proc/{pid}/cmdline"), pid), f"{pid} ends")


def test_a_demo_without_its_server_or_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    known = servers.KINDS[0]
    monkeypatch.setattr(servers, "KINDS", (known._replace(module="no_such_module"),))
    monkeypatch.setattr(servers, "_program", lambda name: f"/usr/sbin/{name}")
    with pytest.raises(DiagError) as missing, staged(DEMOS["saturated-pool"]):
        pass
    assert missing.value.hint == "pip install 'diag[mysql]'"
    monkeypatch.undo()
    monkeypatch.setattr(servers, "KINDS", (known._replace(binary="no-such-server"),))
    with pytest.raises(DiagError, match="no no-such-server here") as missing, staged(DEMOS["saturated-pool"]):
        pass
    assert "mariadb-server" in missing.value.hint


def test_demos_have_different_codes_and_known_names() -> None:
    assert {"self-deadlock", "inherited-lock", "lock-cycle"} <= set(DEMOS)
    assert len({demo.code for demo in DEMOS.values()}) == len(DEMOS)
