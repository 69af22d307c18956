"""One crash as it comes: two lines for a person, one JSON document a line for a program."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from diag.model import fault
from diag.model.crash import Role
from diag.render import json_crashes, json_v1
from diag.render.escape import plain

if TYPE_CHECKING:
    from diag.model.crash import CrashEvent
    from diag.model.report import Report


def json(report: Report, event: CrashEvent) -> str:
    """Return the event, its group so far and what the rules say, as one line."""
    groups = report.snapshot.crash_groups
    document = {
        "schema": "diag/1",
        "event": json_crashes.event_facts(event),
        "group": json_crashes.group_facts(groups[0]) if groups else None,
        "findings": [json_v1.finding_facts(finding) for finding in report.findings],
    }
    return msgspec.json.encode(document).decode()


def terminal(report: Report, event: CrashEvent) -> str:
    """Return when it was, what the rules say, and the raw line."""
    when = datetime.fromtimestamp(event.time or report.taken_at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    raw = f"    {plain(str(event.at))}  {plain(event.text.strip())}"
    groups = report.snapshot.crash_groups
    if groups and event.role is Role.REPORT and groups[0].sample.role is Role.CRASH:
        return f"{when}  told of the crash of {plain(groups[0].program or '?')} above\n{raw}"
    if report.findings:
        first = report.findings[0]
        return f"{when}  {first.code} {plain(first.summary)}\n{raw}"
    return f"{when}  {plain(event.program or event.form)}: {plain(fault.what(event))}\n{raw}"
