"""The JSON contract of docs/design.md as types: any report is decoded with them, no key more or less."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from diag.rules.catalogue import find

Text = Annotated[str, Meta(min_length=1)]
Pid = Annotated[int, Meta(ge=0)]
Natural = Annotated[int, Meta(ge=0)]
Hex = Annotated[str, Meta(pattern="^(0x)?[0-9a-fA-F]+$")]
Json = dict[str, Any]


class Strict(Struct, forbid_unknown_fields=True):
    """Unknown keys are errors."""


class Where(Strict):
    function: str
    file: str
    line: Natural


class Actor(Strict):
    pid: Pid | None
    tid: Pid | None
    process: str
    thread: str | None
    where: Where | None
    container_pid: Pid | UnsetType = UNSET
    address: str | UnsetType = UNSET
    task: str | UnsetType = UNSET


class Culprit(Strict):
    """A process or thread, or the library of a crash: told apart below."""

    pid: Pid | UnsetType | None = UNSET
    tid: Pid | UnsetType | None = UNSET
    process: str | UnsetType = UNSET
    thread: str | UnsetType | None = UNSET
    where: Where | UnsetType | None = UNSET
    container_pid: Pid | UnsetType = UNSET
    address: str | UnsetType = UNSET
    task: str | UnsetType = UNSET
    library: Text | UnsetType = UNSET
    symbol: str | UnsetType | None = UNSET
    offset: int | UnsetType | None = UNSET


class Range(Strict):
    first: Natural
    last: Natural | None


class Resource(Strict):
    kind: Text
    name: Text
    path: str | None
    device: Natural | UnsetType = UNSET
    inode: Natural | UnsetType = UNSET
    lock: str | UnsetType = UNSET
    mode: str | UnsetType = UNSET
    address: str | UnsetType = UNSET
    range: Range | UnsetType = UNSET


class Link(Strict):
    waiter: Actor
    waits_for: Resource
    held_by: list[Actor]
    where: Where | None


class Evidence(Strict):
    source: Text
    text: str


class Finding(Strict):
    code: Annotated[str, Meta(pattern="^[LTPCD][0-9]{3}$")]
    slug: Text
    summary: Annotated[str, Meta(pattern="^[^\n]+$")]
    severity: Literal["critical", "warning", "info"]
    confidence: Literal["certain", "likely", "possible"]
    culprit: Culprit | None
    victims: list[Actor]
    resource: Resource | None
    chain: list[Link]
    evidence: Annotated[list[Evidence], Meta(min_length=1)]
    against: list[Text]
    remedy: Annotated[list[Text], Meta(min_length=1)]
    check: list[Text]


class Gap(Strict):
    source: Text
    hides: Text
    reason: Text
    hint: Text


class Machine(Strict):
    name: str
    kernel: str
    machine: str
    boot_id: str
    uid: int
    container: str | None


class Holder(Actor, kw_only=True):
    fd: Natural | None
    how: None
    since: datetime | None
    taker: int | None
    doing: Where | None


class Waiter(Actor, kw_only=True):
    fd: Natural | None
    how: Literal["blocked", "polling", "timed"]
    since: datetime | None
    behind: Actor | None


class Lock(Strict):
    path: str | None
    device: Natural | None
    inode: Natural | None
    kind: Literal["flock", "posix", "ofd", "lease", "soft"] | None
    mode: Literal["read", "write"] | None
    range: Range | None
    deleted: bool
    replaced_by: int | None
    holders: list[Holder]
    waiters: list[Waiter]
    open_by: list[Actor]


class WaitsFor(Strict):
    words: Text
    how: Text
    resource: Resource
    held_by: list[Actor]
    where: Where | None
    since: datetime | None


class Frame(Strict):
    function: str
    file: str
    line: Natural
    native: bool
    locals: dict[str, str]


class Thread(Strict, kw_only=True):
    pid: Pid
    tid: Pid
    process: str
    thread: str | None
    state: str
    waits_for: WaitsFor | None
    owns_gil: bool
    moved: bool | None
    container_pid: Pid | UnsetType = UNSET


class Stack(Thread, kw_only=True):
    frames: list[Frame]
    samples: Natural


class Task(Actor, kw_only=True):
    kind: Literal["task", "greenlet"]
    waits_for: WaitsFor | None
    frames: list[Frame]


class Doing(Thread, kw_only=True):
    how: str | None
    where: Where | None
    since: datetime | None
    stuck: bool
    held_by: list[Actor]


class Taker(Actor, kw_only=True):
    taken_at: Where | None


class Hop(Strict):
    waiter: Actor
    how: str
    waits_for: Resource
    held_by: list[Taker]
    where: Where | None
    since: datetime | None


class Chain(Strict):
    links: list[Hop]
    ring: bool
    end: Doing | None
    victims: Natural


class Why(Strict):
    threads: list[Doing]
    chains: list[Chain]


class Scan(Strict):
    processes: Natural
    threads: Natural
    looked_at_closely: Natural
    chains: list[Chain]


class LogLine(Strict):
    file: str
    line: Natural


class Event(Struct, kw_only=True):
    """What one line told; lines of an application add fields of their own."""

    at: LogLine
    kind: Text
    form: Text
    role: Text
    time: datetime | None
    also: list[LogLine]
    decoded: Json
    written_by: str | None
    program: str | UnsetType = UNSET
    pid: int | UnsetType = UNSET
    signal: int | UnsetType = UNSET
    address: Hex | UnsetType = UNSET
    ip: Hex | UnsetType = UNSET
    sp: Hex | UnsetType = UNSET
    error: int | UnsetType = UNSET
    error_raw: Hex | UnsetType = UNSET
    trap: str | UnsetType = UNSET
    library: str | UnsetType = UNSET
    map_base: Hex | UnsetType = UNSET
    map_size: Hex | UnsetType = UNSET
    map_offset: Hex | UnsetType = UNSET
    uptime: str | UnsetType = UNSET
    log_time: str | UnsetType = UNSET


class Group(Struct, kw_only=True):
    program: str | None
    library: str | None
    offset: int | None
    symbol: str | None
    count: Annotated[int, Meta(ge=1)]
    first: datetime | None
    last: datetime | None
    period: str | None
    events: list[LogLine]


class Crashes(Strict):
    events: list[Event]
    groups: list[Group]


class Sight(Strict):
    what: Text
    can: bool | None
    detail: str
    lifts: str | None


class Session(Struct):
    session: int
    user: str
    client: str | None
    active: bool
    statement: str | None
    process: Actor | None


class LockWait(Struct):
    waiter: int
    blocker: int | None
    kind: Text
    certain: bool


class Database(Strict):
    dsn: Text
    product: Text
    version: str
    sessions: list[Session]
    waits: list[LockWait]
    notes: list[Text]  # what a file of SQLite says of itself
    locks: list[Lock]  # on such a file: it has no sessions


class Report(Strict, kw_only=True):
    schema: Literal["diag/1"]
    command: Annotated[list[str], Meta(min_length=1)]
    host: Machine
    taken_at: datetime | None
    verdict: Literal["fired", "clear", "blind"]
    findings: list[Finding]
    gaps: list[Gap]
    locks: list[Lock] | UnsetType = UNSET
    stacks: list[Stack] | UnsetType = UNSET
    tasks: list[Task] | UnsetType = UNSET  # beside stacks
    why: Why | UnsetType = UNSET
    scan: Scan | UnsetType = UNSET
    segfaults: Crashes | UnsetType = UNSET
    core: Json | UnsetType = UNSET
    db: list[Database] | UnsetType = UNSET
    doctor: list[Sight] | UnsetType = UNSET


VIEWS = ("locks", "stacks", "why", "scan", "segfaults", "core", "db", "doctor")
CODES = {"clear": 0, "fired": 3, "blind": 4}


def check(text: str, exit_code: int | None) -> None:
    """Hold a report against the contract: keys, types, and what they have to say together."""
    report = msgspec.json.decode(text, type=Report)
    mine = [view for view in VIEWS if getattr(report, view) is not UNSET]
    assert len(mine) == 1, f"one command's own facts, not {mine}"
    assert exit_code in (None, CODES[report.verdict]), f"exit {exit_code} of a {report.verdict} report"
    assert bool(report.findings) == (report.verdict == "fired"), report.verdict
    assert report.verdict != "blind" or report.gaps, "blind, and no gap says why"
    for finding in report.findings:
        _check_finding(finding)


def _check_finding(finding: Finding) -> None:
    entry = find(finding.code)
    assert entry, finding.code
    assert entry.slug == finding.slug
    if finding.culprit is not None:
        of_process = finding.culprit.pid is not UNSET and finding.culprit.process is not UNSET
        of_library = finding.culprit.library is not UNSET and finding.culprit.offset is not UNSET
        assert of_process != of_library, finding.culprit
    for command in finding.check:
        assert shlex.split(command), command
    for hop, after in zip(finding.chain, finding.chain[1:], strict=False):
        holders = {holder.pid for holder in hop.held_by}
        assert after.waiter.pid in holders, f"{finding.code}: {after.waiter.pid} goes on, held by {holders}"
