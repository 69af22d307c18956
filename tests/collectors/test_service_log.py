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
        (
            "2026-11-11 07:00:03,044 celery.worker INFO Process 'ForkPoolWorker-3' pid:70 exited with "
            "'signal 11 (SIGSEGV)'", "billiard-exit", 70, 11,
        ),
        (
            "2026-11-11 07:00:03,044 - celery - ERROR - Process 'ForkPoolWorker-3' pid:70 exited with "
            "'signal 11 (SIGSEGV)'", "billiard-exit", 70, 11,
        ),
        (
            "\x1b[36mweb-1  |\x1b[0m \x1b[31mProcess 'ForkPoolWorker-3' pid:70 exited with "
            "'signal 11 (SIGSEGV)'\x1b[0m", "billiard-exit", 70, 11,
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
        ("Fatal glibc error: malloc.c:2599 (sysmalloc): assertion failed: old_size == 0", "glibc", None, 6),
        ("*** %n in writable segments detected ***", "glibc", None, 6),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "terminate", None, 6),
        ("terminate called without an active exception", "terminate", None, 6),
        ("Nov 11 07:00:03 h init: app main process (70) killed by SEGV signal", "upstart", 70, 11),
        (
            "Nov 11 07:00:03 h dovecot: master: Error: service(imap): child 70 killed with signal 11 (core "
            "dumped)", "dovecot", 70, 11,
        ),
        (
            "Nov 11 07:00:03 h postfix/master[9]: warning: process /usr/libexec/postfix/smtpd pid 70 killed "
            "by signal 11", "postfix", 70, 11,
        ),
        ("[ALERT]    (1) : Current worker (70) exited with code 139 (Segmentation fault)", "haproxy", 70, 11),
        ("E, [2026-11-11T07:00:03.1 #1] ERROR -- : reaped #<Process::Status: pid 70 SIGSEGV (signal 11)> "
         "worker=1", "unicorn", 70, 11),
        (
            "2026-11-11T07:00:03: PM2 log: App [api:0] exited with code [0] via signal [SIGSEGV]",
            "pm2", None, 11,
        ),
        ("web-1 exited with code 134", "container", None, 6),
        ("Nov 11 07:00:03 h systemd[1]: Caught <ABRT>, core dump failed.", "manager", 1, 6),
        ("#  SIGSEGV (0xb) at pc=0x00007f24ea928fc8, pid=70, tid=71", "jvm", 70, 11),
        (
            "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
            "node", None, 6,
        ),
        ("[signal SIGSEGV: segmentation violation code=0x1 addr=0x8 pc=0x535677]", "go", None, 11),
        ("./app.rb:5: [BUG] Segmentation fault at 0x0000000000000010", "ruby", None, 11),
        ("2026-11-11  7:00:03 0 [ERROR] mysqld got signal 11 ;", "mysqld", None, 11),
        ("1:M 11 Nov 2026 07:00:03.501 # Redis 7.0.1 crashed by signal: 11, si_code: 1", "redis", None, 11),
        ("Nov 11 07:00:03 h smbd[70]:   INTERNAL ERROR: Signal 11 in pid 70 (4.2.1)", "samba", 70, 11),
        ("  INTERNAL ERROR: Signal 6: Aborted in smbd (smbd[10.0.0.5]) pid 70 (4.17.1)", "samba", 70, 6),
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
        "web-1 exited with code 137",
        "web-1 exited with code 1",
        "the helper process of it exited with code 139",
        "2026-11-11T07:00:03: PM2 log: App [api:0] exited with code [0] via signal [SIGINT]",
        "Nov 11 07:00:03 h init: app main process (70) killed by TERM signal",
        "Fatal glibc error: CPU does not support x86-64-v2",
        "http: panic serving 10.0.0.5:1: runtime error: invalid memory address or nil pointer dereference",
        "[ALERT]    (1) : Current worker (70) exited with code 143 (Terminated)",
    ],
)
def test_ordinary_ends_and_talk_are_no_deaths(text: str) -> None:
    assert parse_line(text, AT) is None
