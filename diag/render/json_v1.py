"""JSON, version 1. Keys are written by hand: renaming a model field may not change them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import msgspec

from diag.model.finding import Library
from diag.render import json_core, json_crashes, json_databases
from diag.render.escape import plain

if TYPE_CHECKING:
    from diag.host import Host
    from diag.model.facts import Evidence, Gap, Stack, Where
    from diag.model.finding import Finding, Link
    from diag.model.graph import Actor, Hold, Resource, Wait
    from diag.model.report import Report
    from diag.model.snapshot import Chain, Lock, SeenTask, SeenThread, Snapshot

Json = dict[str, Any]


def render(report: Report, host: Host, *, width: int, color: bool, verbose: bool) -> str:
    """Return the report as one JSON document; the options of other formats have no meaning here."""
    del width, color, verbose
    document: Json = {
        "schema": "diag/1",
        "command": list(report.command),
        "host": {
            "name": host.info.name,
            "kernel": host.info.kernel,
            "machine": host.info.machine,
            "boot_id": host.info.boot_id,
            "uid": host.info.uid,
            "container": host.info.container,
        },
        "taken_at": _time(report.taken_at),
        "verdict": report.verdict,
        "findings": [finding_facts(finding) for finding in report.findings],
        "gaps": [_gap(gap) for gap in report.snapshot.gaps],
        report.view: _VIEWS[report.view](report.snapshot),
    }
    if report.view == "stacks":
        document["tasks"] = [_task(task) for task in report.snapshot.tasks]
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _time(epoch: float | None) -> str | None:
    if epoch is None:
        return None
    return datetime.fromtimestamp(epoch, timezone.utc).isoformat(timespec="milliseconds")


def finding_facts(finding: Finding) -> Json:
    """Return one finding, with the keys of the contract."""
    return {
        "code": finding.code,
        "slug": finding.slug,
        "summary": plain(finding.summary),  # one sentence on one line, whatever names it holds
        "severity": finding.severity.value,
        "confidence": finding.confidence.value,
        "culprit": _culprit(finding.culprit),
        "victims": [_actor(victim) for victim in finding.victims],
        "resource": finding.resource and _resource(finding.resource),
        "chain": [_link(link) for link in finding.chain],
        "evidence": [_evidence(item) for item in finding.evidence],
        "against": list(finding.against),
        "remedy": list(finding.remedy),
        "check": list(finding.check),
    }


def _culprit(culprit: Actor | Library | None) -> Json | None:
    if isinstance(culprit, Library):
        return {"library": culprit.library, "symbol": culprit.symbol, "offset": culprit.offset}
    return _actor(culprit) if culprit else None


def _actor(actor: Actor) -> Json:
    known: Json = {
        "pid": actor.pid,
        "tid": actor.tid,
        "process": actor.process,
        "thread": actor.thread,
        "where": _where(actor.where),
    }
    if actor.container_pid is not None:
        known["container_pid"] = actor.container_pid
    if actor.address is not None:
        known.update(pid=None, address=actor.address)
    if actor.task is not None:
        known["task"] = actor.task
    return known


def _where(where: Where | None) -> Json | None:
    if where is None:
        return None
    return {"function": where.function, "file": where.file, "line": where.line}


def _resource(resource: Resource) -> Json:
    fields: Json = {"kind": resource.kind, "name": resource.name, "path": resource.path}
    for name in ("device", "inode", "lock", "mode", "address"):
        if (value := getattr(resource, name)) is not None:
            fields[name] = value
    if resource.first is not None:
        fields["range"] = _range(resource)
    return fields


def _range(resource: Resource) -> Json | None:
    if resource.first is None:
        return None
    return {"first": resource.first, "last": resource.last}


def _link(link: Link) -> Json:
    return {
        "waiter": _actor(link.waiter),
        "waits_for": _resource(link.waits_for),
        "held_by": [_actor(holder) for holder in link.held_by],
        "where": _where(link.where),
    }


def _evidence(evidence: Evidence) -> Json:
    return {"source": evidence.source, "text": evidence.text}


def _gap(gap: Gap) -> Json:
    return {"source": gap.source, "hides": gap.hides, "reason": gap.reason, "hint": gap.hint}


def _locks(snapshot: Snapshot) -> list[Json]:
    return [_lock(lock) for lock in snapshot.locks if lock.asked]


def _lock(lock: Lock) -> Json:
    return {
        "path": lock.resource.path,
        "device": lock.resource.device,
        "inode": lock.resource.inode,
        "kind": lock.resource.lock,
        "mode": lock.resource.mode,
        "range": _range(lock.resource),
        "deleted": lock.deleted,
        "replaced_by": lock.replaced_by,
        "holders": [_holder(hold) for hold in lock.holders],
        "waiters": [_waiter(wait) for wait in lock.waiters],
        "open_by": [_actor(actor) for actor in lock.open_by],
    }


def _holder(hold: Hold) -> Json:
    return {
        **_actor(hold.holder),
        "fd": hold.fd,
        "how": None,  # it waits in no way
        "taker": hold.taker,
        "since": _time(hold.since),
        "where": _where(hold.taken_at),
        "doing": _where(hold.holder.where),
    }


def _waiter(wait: Wait) -> Json:
    return {
        **_actor(wait.waiter),
        "fd": wait.fd,
        "how": wait.how.value,
        "since": _time(wait.since),
        "where": _where(wait.where),
        "behind": wait.behind and _actor(wait.behind),
    }


def _stacks(snapshot: Snapshot) -> list[Json]:
    return [_thread(seen) for seen in snapshot.threads]


def _waits_for(wait: Wait) -> Json:
    return {
        "words": wait.words,
        "how": wait.how.value,
        "resource": _resource(wait.resource),
        "held_by": [_actor(hold.holder) for hold in wait.holds],
        "where": _where(wait.where),
        "since": _time(wait.since),
    }


def _thread(seen: SeenThread) -> Json:
    stack = seen.stack
    fields: Json = {
        "pid": seen.process.pid,
        "tid": seen.thread.tid,
        "process": seen.process.name,
        "thread": (stack and stack.thread) or seen.thread.name,
        "state": seen.thread.state,
        "waits_for": seen.wait and _waits_for(seen.wait),
        "frames": _frames(stack),
        "owns_gil": bool(stack and stack.owns_gil),
        "samples": seen.samples,
        "moved": seen.moved,
    }
    if seen.process.container_pid is not None:
        fields["container_pid"] = seen.process.container_pid
    return fields


def _frames(stack: Stack | None) -> list[Json]:
    return [
        {
            "function": frame.function,
            "file": frame.file,
            "line": frame.line,
            "native": frame.native,
            "locals": {local.name: local.value for local in frame.locals},
        }
        for frame in (stack.frames if stack else ())
    ]


def _task(task: SeenTask) -> Json:
    """One asyncio task or greenlet; ``waits_for`` is null where its loop alone will let it go on."""
    return {
        **_actor(task.actor),
        "kind": task.kind,
        "waits_for": task.wait and _waits_for(task.wait),
        "frames": _frames(task.stack),
    }


def _why(snapshot: Snapshot) -> Json:
    return {
        "threads": [_doing(seen) for seen in snapshot.threads],
        "chains": [_chain(chain) for chain in snapshot.chains],
    }


def _scan(snapshot: Snapshot) -> Json:
    return {**dict(snapshot.counted), "chains": [_chain(chain) for chain in snapshot.chains]}


def _doing(seen: SeenThread) -> Json:
    """One thread without its frames: "diag stacks" has them."""
    fields = _thread(seen)
    del fields["frames"], fields["samples"]
    wait = seen.wait
    return {
        **fields,
        "how": wait and wait.how.value,
        "where": wait and _where(wait.where),
        "since": wait and _time(wait.since),
        "stuck": bool(wait and wait.stuck),
        "held_by": [_actor(hold.holder) for hold in wait.holds] if wait else [],
    }


def _chain(chain: Chain) -> Json:
    return {
        "links": [
            {
                "waiter": _actor(wait.waiter),
                "how": wait.how.value,
                "waits_for": _resource(wait.resource),
                "held_by": [
                    {**_actor(hold.holder), "taken_at": _where(hold.taken_at)}
                    for hold in wait.holds
                    if not hold.passive
                ],
                "where": _where(wait.where),
                "since": _time(wait.since),
            }
            for wait in chain.waits
        ],
        "ring": chain.ring,
        "end": chain.end and _doing(chain.end),
        "victims": chain.victims,
    }


def _core(snapshot: Snapshot) -> Json:
    return {
        **(json_core.facts(snapshot.core, snapshot.fault, snapshot.suspects) if snapshot.core else {}),
        "threads": [
            {**_thread(seen), "registers": json_core.registers(snapshot.core, seen.thread.tid)}
            for seen in snapshot.threads
        ],
        "chains": [_chain(chain) for chain in snapshot.chains],
        "logs": [json_core.worker_log(log) for log in snapshot.worker_logs],
    }


def _databases(snapshot: Snapshot) -> list[Json]:
    """Each server or file; of a file, which has no sessions, the locks on it."""
    return [
        {
            **entry,
            "locks": [_lock(lock) for lock in snapshot.locks if lock.resource.path in database.files],
        }
        for entry, database in zip(json_databases.view(snapshot), snapshot.databases, strict=True)
    ]


def _doctor(snapshot: Snapshot) -> list[Json]:
    return [
        {"what": sight.what, "can": sight.can, "detail": sight.detail, "lifts": sight.lifts}
        for sight in snapshot.sights
    ]


_VIEWS = {
    "core": _core,
    "locks": _locks,
    "stacks": _stacks,
    "segfaults": json_crashes.view,
    "why": _why,
    "scan": _scan,
    "db": _databases,
    "doctor": _doctor,
}
