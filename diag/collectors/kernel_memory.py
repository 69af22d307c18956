"""How kernels of all ages write that they killed a process for want of memory, or for broken memory."""

from __future__ import annotations

from diag.collectors.crash_format import HEX, Format
from diag.model.crash import Role

_RSS = r"(?:.*?anon-rss:(?P<anon_rss_kb>\d+)kB)?"
# A name may hold brackets itself; what follows it is one of these.
_AFTER_NAME = r"(?=$|,? (?:score|total-vm|vsz|sharing|because|by|to)\b|[,.]?\s*$|,\s|['\"`])"
_VICTIM = rf"(?P<pid>\d+)(?:, UID (?P<uid>\d+),)? \((?P<program>.{{1,64}}?)\){_AFTER_NAME}"

FORMATS = (
    # mm/oom_kill.c: "kill process N (x) score N or a child" until 2.6.35, "Kill process … or sacrifice
    # child" until 4.19, "Killed process" since; 2.6.18 and older: "Out of Memory: Killed process N (x)."
    Format(
        "oom",
        "kill",
        Role.CRASH,
        ("ill process ", "illed process "),
        (
            r"(?:(?P<cgroup>Memory cgroup )o|\bO)ut of [Mm]emory(?: \(oom_kill_allocating_task\))?: "
            rf"[Kk]ill(?:ed)? process {_VICTIM}"
            rf"(?: score (?P<score>\d+))?{_RSS}"
            r"(?:.*? UID:(?P<memory_uid>\d+))?"
        ),
        fixed={"signal": 9, "cgroup": False},
    ),
    Format(
        "oom",
        "killed",
        Role.REPORT,
        ("illed process ",),
        (rf"Killed process {_VICTIM},? (?:total-vm|vsz):{_RSS}"),
        fixed={"signal": 9},
    ),
    Format(
        "oom",
        "killed",
        Role.REPORT,
        ("illed process ",),
        (r"Killed process (?P<pid>\d+) \((?P<program>[^()]{1,15})\)$"),
        fixed={"signal": 9},
        anywhere=False,
    ),
    # arch/*/mm/fault.c before 2.6.35: no page could be had for the fault itself.
    Format(
        "oom",
        "vm",
        Role.CRASH,
        ("illing process ",),
        (r"VM: killing process (?P<program>.{1,15})$"),
        fixed={"signal": 9, "cgroup": False},
        anywhere=False,
    ),
    Format(
        "oom",
        "-kill",
        Role.REPORT,
        ("-kill",),
        (
            r"oom-kill:constraint=(?P<constraint>\w+),.*,task=(?P<program>.{1,64}),pid=(?P<pid>\d+),"
            r"uid=(?P<uid>-?\d+)"
        ),
        fixed={"signal": 9},
    ),
    Format(
        "oom",
        "invoked",
        Role.CONTEXT,
        ("-kill",),
        (r" invoked oom-killer: gfp_mask=0x"),
        comm=True,
    ),
    Format(
        "oom",
        "reaper",
        Role.CONTEXT,
        ("_reaper: ",),
        (r"oom_reaper: reaped process (?P<pid>\d+) \((?P<program>.{1,64}?)\), now anon-rss:"),
    ),
    Format(
        "oom",
        "cgroup-limit",
        Role.CONTEXT,
        ("Task in /",),
        (r"Task in (?P<task_cgroup>/\S*) killed as a result of limit of (?P<limit>/\S*)"),
    ),
    # mm/memory-failure.c, arch/*/mm/fault.c, mm/hugetlb.c: SIGBUS without a line about the fault.
    Format(
        "memory-failure",
        "hardware",
        Role.CRASH,
        ("to hardware memory",),
        (
            r"(?:MCE: Killing|Memory failure: .*?(?:Killing|Sending SIGBUS to)) (?P<program>.{1,15}?):"
            rf"(?P<pid>\d+) due to hardware memory corruption(?: fault at (?P<address>{HEX}))?"
        ),
        fixed={"signal": 7},
    ),
    Format(
        "memory-failure",
        "hugepage",
        Role.CRASH,
        ("inadequate hugepage",),
        (r"\bPID (?P<pid>\d+) killed due to inadequate hugepage pool"),
        fixed={"signal": 7},
    ),
)
