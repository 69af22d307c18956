"""What services say when a worker dies: lines written from the format strings in their sources."""

from __future__ import annotations

import pytest

from diag.collectors.crash_lines import NEEDLES, parse_line
from diag.model.crash import LogLine, Role

AT = LogLine(file="log", line=1)
TIME = "[2026-11-11 07:00:03,044: ERROR/MainProcess] "


@pytest.mark.parametrize(
    ("text", "form", "pid", "signal"),
    [
        (TIME + "Process 'ForkPoolWorker-3' "
         "pid:70 exited with 'signal 11 (SIGSEGV)'", "billiard-exit", 70, 11),
        (
            TIME + "Task handler raised error: WorkerLostError('Worker exited "
            "prematurely: signal 11 (SIGSEGV) Job: 3.')",
            "billiard-lost", None, 11,
        ),
        ("!!! uWSGI process 70 got Segmentation Fault !!!", "uwsgi-segv", 70, 11),
        ("DAMN ! worker 2 (pid: 70) died, killed by signal 6 :( trying respawn ...", "uwsgi-died", 70, 6),
        ("[2026-11-11 07:00:03 +0000] [1] [ERROR] Worker (pid:70) was sent SIGSEGV!", "gunicorn", 70, 11),
        (
            "[2026-11-11 07:00:03 +0000] [1] [WARNING] Worker with pid 70 was terminated "
            "due to signal 11", "gunicorn", 70, 11,
        ),
        (
            "2026/11/11 07:00:03 [alert] 1#1: worker process 70 exited on signal 11 (core "
            "dumped)", "nginx", 70, 11,
        ),
        (
            "2026-11-11 07:00:03.1 UTC [1] LOG:  server process (PID 70) was terminated by "
            "signal 11: Segmentation fault", "postgres", 70, 11,
        ),
        (
            "Nov 11 07:00:03 h systemd[1]: app.service: Main process exited, code=dumped, "
            "status=11/SEGV", "exited", None, 11,
        ),
        (
            "Nov 11 07:00:03 h systemd-coredump[9]: Process 70 (app) of user 0 dumped "
            "core.", "summary", 70, None,
        ),
        (
            'Nov 11 07:00:03 h audit[70]: ANOM_ABEND auid=1 uid=1 gid=1 ses=1 pid=70 '
            'comm="app" exe="/a" sig=11', "audit-anom-abend", 70, 11,
        ),
        ("Fatal Python error: Segmentation fault", "python-fatal", None, 11),
        ("Fatal Python error: GC object already tracked", "python-fatal", None, 6),
        ("double free or corruption (out)", "glibc", None, 6),
        ("free(): double free detected in tcache 2", "glibc", None, 6),
        ("malloc(): mismatching next->prev_size (unsorted)", "glibc", None, 6),
        ("*** buffer overflow detected ***: terminated", "glibc", None, 6),
        ("app: src/a.c:12: work: Assertion `x > 0' failed.", "other", None, 6),
    ],
)  # fmt: skip
def test_a_death_is_recognised(text: str, form: str, pid: int | None, signal: int | None) -> None:
    event = parse_line(text, AT)
    assert event is not None
    assert any(needle in text for needle in NEEDLES)
    assert (event.form, event.pid, event.signal, event.role) == (form, pid, signal, Role.REPORT)


@pytest.mark.parametrize(
    "text",
    [
        "[2026-11-11 07:00:03 +0000] [1] [ERROR] Worker (pid:70) was sent SIGTERM!",
        "Nov 11 07:00:03 h systemd[1]: app.service: Main process exited, code=killed, status=15/TERM",
        "Nov 11 07:00:03 h systemd[1]: app.service: Main process exited, code=exited, status=1/FAILURE",
        TIME + "Process 'ForkPoolWorker-3' pid:70 exited with 'signal 15 (SIGTERM)'",
        "2026/11/11 07:00:03 [notice] 1#1: signal 17 (SIGCHLD) received",
        "   Process 'ForkPoolWorker-3' pid:70 exited with 'signal 11 (SIGSEGV)'",
        'log.error("double free or corruption (out)")',
    ],
)
def test_ordinary_ends_and_talk_are_no_deaths(text: str) -> None:
    assert parse_line(text, AT) is None
