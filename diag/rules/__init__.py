"""All rules, one root cause a file. A new rule is one file here and one line in ``FILES``.

A rule's file loads when it is asked for: ``diag locks`` does not wait for the rules of crashes.
"""

from __future__ import annotations

from importlib import import_module

from diag.rules.base import Rule, judge

FILES = {
    "L001": "self_deadlock",
    "L002": "lock_cycle",
    "L003": "inherited_lock",
    "L004": "stopped_holder",
    "L005": "stuck_holder",
    "L006": "idle_holder",
    "L007": "replaced_lock_file",
    "L008": "stale_lock_file",
    "T001": "thread_deadlock",
    "T002": "lock_reentry",
    "T003": "fork_held_lock",
    "T004": "dead_owner",
    "T005": "pool_exhaustion",
    "T006": "blocked_event_loop",
    "T007": "held_gil",
    "T008": "import_deadlock",
    "T009": "task_deadlock",
    "T010": "lost_wakeup",
    "T011": "shared_lock_cycle",
    "T012": "leaked_lock",
    "P001": "pipe_deadlock",
    "P002": "call_cycle",
    "P003": "no_peer",
    "P004": "unanswered_io",
    "P005": "stopped_peer",
    "P006": "inherited_pipe",
    "C001": "shared_connection",
    "C002": "refcount_corruption",
    "C003": "null_dereference",
    "C004": "stack_overflow",
    "C005": "bad_jump",
    "C006": "heap_corruption",
    "C007": "out_of_memory",
    "C008": "crash_loop",
    "C009": "replaced_library",
    "C010": "fork_unsafe_library",
    "C011": "bad_instruction",
    "C013": "killed_by_supervisor",
    "C014": "forbidden_call",
    "C012": "unexplained_crash",
    "D001": "saturated_pool",
    "D002": "idle_in_transaction",
    "D003": "database_cycle",
    "D004": "metadata_lock_queue",
}
"""Code -> the file of this folder whose ``check`` looks for it, in the order of the report."""


def rules(families: tuple[str, ...] = ("",)) -> tuple[Rule, ...]:
    """Load the rules whose code begins with one of ``families``: ("L", "C008")."""
    modules = [import_module(f"{__name__}.{FILES[code]}") for code in FILES if code.startswith(families)]
    return tuple(Rule(module.CODE, module.SLUG, module.check) for module in modules)


__all__ = ["FILES", "Rule", "judge", "rules"]
