"""The rules about databases: they fire, stay quiet on the healthy look-alike, and admit what is hidden."""

from __future__ import annotations

from diag.collectors.databases import RULES as BLINDED
from diag.collectors.databases import unanswered
from diag.host import Problem
from diag.model.databases import Database, LockWait, Server, Session
from diag.model.facts import Evidence
from diag.model.finding import Blind, Clear, Confidence, Fired
from diag.model.snapshot import Snapshot
from diag.rules import judge, rules

SERVER = Server(dsn="mysql://diag@db:3306/", product="MariaDB", version="10.11", port=3306)
ROW = Evidence(source="information_schema.innodb_lock_waits", text="requesting_trx_id 2, blocking_trx_id 1")


def session(number: int, *, active: bool, seconds: float) -> Session:
    return Session(
        id=number, user="app", client=f"10.0.0.{number}:4000", active=active, seconds=seconds,
        transaction=str(number), statement="update t set a = ?" if active else None,
        evidence=Evidence(source="information_schema.processlist", text=f"id {number}"),
    )  # fmt: skip


def snapshot(holder: Session, kind: str = "row", *, certain: bool = True) -> Snapshot:
    wait = LockWait(
        waiter=2, blocker=holder.id, kind=kind, key="t", name=f"{kind} lock on t", certain=certain,
        evidence=(ROW,),
    )  # fmt: skip
    sessions = (holder, session(2, active=True, seconds=9))
    return Snapshot(databases=(Database(server=SERVER, sessions=sessions, waits=(wait,)),))


def verdict(code: str, of: Snapshot) -> Fired | Clear | Blind:
    return next(judge(rule, of) for rule in rules() if rule.code == code)


def test_d002_names_a_client_on_another_host() -> None:
    found = verdict("D002", snapshot(session(1, active=False, seconds=20)))
    assert isinstance(found, Fired)
    (finding,) = found.findings
    assert "session 1 (app, transaction 1)" in finding.summary
    assert "10.0.0.1:4000" in finding.summary
    assert finding.confidence is Confidence.LIKELY
    assert finding.evidence[0] == ROW


def test_d002_is_quiet_while_the_holder_works_or_takes_breath() -> None:
    assert verdict("D002", snapshot(session(1, active=True, seconds=20))) == Clear(code="D002")
    assert verdict("D002", snapshot(session(1, active=False, seconds=0.1))) == Clear(code="D002")


def test_d004_fires_on_metadata_locks_only() -> None:
    idle = session(1, active=False, seconds=20)
    found = verdict("D004", snapshot(idle, "metadata", certain=False))
    assert isinstance(found, Fired)
    assert found.findings[0].confidence is Confidence.LIKELY
    assert found.findings[0].against
    assert verdict("D004", snapshot(idle)) == Clear(code="D004")
    assert verdict("D002", snapshot(idle, "metadata")) == Clear(code="D002")


def test_all_of_them_are_blind_when_the_server_does_not_answer() -> None:
    gap = unanswered("mysql://diag@db:3306/", Problem("timeout", "", "no answer within 10 s"))
    for code in sorted(BLINDED):
        assert verdict(code, Snapshot(gaps=(gap,))) == Blind(code=code, gaps=(gap,))
        assert verdict(code, Snapshot()) == Clear(code=code)
