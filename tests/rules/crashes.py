"""What every rule about crashes is asked: whether it fires, stays quiet, admits that it was blind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.investigate.segfaults import BLINDS
from diag.model.facts import Gap
from diag.model.finding import Blind, Clear, Finding, Fired
from diag.rules import Rule, judge
from tests.crashes.logs import snapshot

if TYPE_CHECKING:
    from types import ModuleType

UNREAD = Gap(source="kern.log", hides="crashes", reason="permission denied", hint="be root", blinds=BLINDS)


def rule(module: ModuleType) -> Rule:
    return Rule(module.CODE, module.SLUG, module.check)


def findings(module: ModuleType, *lines: str) -> tuple[Finding, ...]:
    verdict = judge(rule(module), snapshot(*lines))
    return verdict.findings if isinstance(verdict, Fired) else ()


def finding(module: ModuleType, *lines: str) -> Finding:
    (only,) = findings(module, *lines)
    return only


def quiet(module: ModuleType, *lines: str) -> bool:
    """Whether it is quiet on these lines, and says so when a log could not be read."""
    assert judge(rule(module), snapshot(*lines, gaps=(UNREAD,))) in (
        Blind(code=module.CODE, gaps=(UNREAD,)),
        judge(rule(module), snapshot(*lines)),
    )
    blind = judge(rule(module), snapshot(gaps=(UNREAD,)))
    assert blind == Blind(code=module.CODE, gaps=(UNREAD,))
    return judge(rule(module), snapshot(*lines)) == Clear(code=module.CODE)
