"""Whom a core accuses: who calls whom, and where a file lies, weigh as much as who was at work."""

from __future__ import annotations

from msgspec.structs import replace

from diag.model.core import CoreFault, CoreImage, CoreModule, CoreSignal, Suspect
from diag.model.damage import Caller, Damage, LibraryUse
from diag.model.facts import Frame, Process, Stack, Thread
from diag.model.snapshot import SeenThread, Snapshot
from diag.rules import core_suspects, refcount_corruption

NUMBERS, OWN, MADE = "/site-packages/numbers.so", "/srv/app/orders.so", "/site-packages/packer.so"
PYTHON = "/usr/lib/libpython3.12.so.1.0"
SAID = ("stack", "Fatal Python error: deallocating None")


def use(library: str, *, packaged: bool = True, made_by: str = "") -> LibraryUse:
    lets_go, borrows = ("PyEval_SaveThread",), ("PyList_GetItem",)
    return LibraryUse(
        library=library, python=True, lets_go=lets_go, borrows=borrows, packaged=packaged, made_by=made_by
    )


def died(*callers: Caller) -> Snapshot:
    """A thread was in one library, which had let go of the lock; another one, made by hand, may be called."""
    frames = (
        Frame(function="kernel", file=NUMBERS, line=0, native=True, library=NUMBERS, address=4),
        Frame(function="handle", file="/srv/app/app.py", line=3),
    )
    modules = tuple(CoreModule(path=path, start=0, end=1) for path in (PYTHON, NUMBERS, OWN, MADE))
    signal = CoreSignal(number=11, code=1)
    uses = (use(NUMBERS), use(OWN, packaged=False), use(MADE, made_by="Cython"))
    other = SeenThread(
        process=Process(pid=7, ppid=1, started=1, since=1, name="python", state="S"),
        thread=Thread(pid=7, tid=8, name="python", state="S"),
        stack=Stack(pid=7, tid=8, thread=None, frames=frames),
    )
    snapshot = Snapshot(
        core=CoreImage(path="core", machine="x86_64", pid=7, signal=signal, modules=modules),
        fault=CoreFault(tid=7, signal=11, pc=1, sp=2, said=(SAID,)),
        threads=(other,),
        damage=Damage(python=(3, 12), callers=callers, uses=uses),
    )
    return replace(snapshot, suspects=core_suspects.rank(snapshot))


def ranked(snapshot: Snapshot) -> list[str]:
    return [one.library for one in snapshot.suspects]


def test_who_handles_what_was_freed_comes_before_who_was_at_work() -> None:
    assert ranked(died()) == [NUMBERS, OWN, MADE]
    busy = Caller(library=NUMBERS, place="handle (app.py:3)", names=("numbers.sum",))
    freed = Caller(library=OWN, place="take (app.py:9)", names=("orders.first",), has_freed=True)
    assert set(ranked(died(busy, freed))[:2]) == {OWN, NUMBERS}
    suspect = next(one for one in died(freed).suspects if one.library == OWN)
    assert "take (app.py:9)" in str(suspect.why)
    assert suspect.score > next(one for one in died().suspects if one.library == OWN).score


def test_generated_code_comes_last() -> None:
    assert "Cython" in str(next(one for one in died().suspects if one.library == MADE).why)


def test_of_several_suspects_none_is_the_culprit() -> None:
    (found,) = refcount_corruption.check(died())
    assert found.culprit is None
    alone = replace(died(), suspects=(Suspect(library=NUMBERS, score=7), Suspect(library=OWN)))
    (found,) = refcount_corruption.check(alone)
    assert found.culprit is not None
