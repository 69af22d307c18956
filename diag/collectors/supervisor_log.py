"""What supervisors write when they end a process themselves: its time was up, or its memory was too much.

None of these lines is a crash; they tell why the death that follows is none either.
"""

from __future__ import annotations

from diag.collectors.crash_format import Format
from diag.collectors.system_log import UNIT
from diag.model.crash import Role


def _limit(form: str, needle: str, pattern: str) -> Format:
    return Format("limit", form, Role.CONTEXT, (needle,), pattern)


FORMATS = (
    # uWSGI core/master_utils.c, several ages.
    _limit("uwsgi-harakiri", "(pid:", r"HARAKIRI ON WORKER (?P<worker>\d+) \(pid: (?P<pid>\d+)\b"),
    # celery/worker/request.py: billiard kills the worker, and its parent then tells of signal 9.
    _limit(
        "celery-time-limit", "rd time limit (",
        r"Hard time limit \((?P<seconds>\d+)(?:\.\d+)?s\) exceeded for (?P<task>[\w.:-]+)",
    ),
    # systemd src/core/service.c and unit.c.
    _limit(
        "systemd-timeout", "imed out. ",
        rf"{UNIT}: (?:State ')?(?P<state>[\w ()-]+?)'? timed out\. (?:Killing|Terminating|Aborting)",
    ),
    _limit("systemd-watchdog", "atchdog timeout", rf"{UNIT}: [Ww]atchdog timeout"),
    _limit(
        "systemd-kill", "illing process ",
        rf"{UNIT}: Killing process (?P<pid>\d+) \((?P<program>.+?)\) with signal SIG(?:KILL|ABRT)",
    ),
    # supervisor/process.py.
    _limit("supervisord-kill", "SIGKILL", r"killing '(?P<program>[^']+)' \((?P<pid>\d+)\) with SIGKILL"),
    # php-fpm: sapi/fpm/fpm/fpm_request.c.
    _limit(
        "php-fpm-timeout", "cution timed out",
        r"\[pool (?P<pool>[^\]]+)\] child (?P<pid>\d+), .*execution timed out \([\d.]+ sec\), terminating",
    ),
    # Memory, judged in user space: systemd-oomd, earlyoom; what systemd heard of the kernel's.
    _limit("oom-unit", "killed by", rf"{UNIT}: A process of this unit has been killed by the OOM"),
    _limit("oomd", "md killed", rf"{UNIT}: systemd-oomd killed (?P<killed>\d+) process"),
    _limit(
        "oomd", " due to memory ",
        r"Killed /\S*?(?P<unit>[\w@\\:.-]+\.(?:service|scope|slice)) due to memory (?:used|pressure)",
    ),
    _limit(
        "earlyoom", "SIGKILL",
        r"[Ss]ending SIGKILL to process (?P<pid>\d+)(?: uid \d+)? \"(?P<program>[^\"]+)\"",
    ),
    # dockerd and kubelet.
    _limit(
        "docker-stop", " using the force",
        r"[Cc]ontainer (?P<container>[0-9a-f]{8,64}).*within \d+.* of signal \d+ - using the force",
    ),
    _limit(
        "kubelet-probe", "liveness probe,",
        r"Container (?P<container>[\w.-]+) failed (?:liveness|startup) probe, will be restarted",
    ),
)  # fmt: skip
