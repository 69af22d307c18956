"""What is known of a suspect's own fault is told where version and facts fit, and nowhere else."""

from __future__ import annotations

import pytest

from diag.model.core import CoreFault, CoreImage, CoreSignal, Suspect
from diag.model.damage import Damage, LibraryUse, PastCall
from diag.model.facts import Frame, Process, Stack, Thread
from diag.model.snapshot import SeenThread, Snapshot
from diag.rules import core_causes, over_releases

UWSGI = "/opt/app/bin/uwsgi"


def dead(*arguments: str, version: str, path: str = UWSGI, past: tuple[PastCall, ...] = ()) -> Snapshot:
    use = LibraryUse(library=path, python=True, version=version)
    core = CoreImage(
        path="core", machine="x86_64", pid=7, arguments=arguments, signal=CoreSignal(number=11, code=1)
    )
    return Snapshot(
        core=core, suspects=(Suspect(library=path),), damage=Damage(python=(3, 6), past=past, uses=(use,))
    )


SPOOLED = PastCall(tid=9, library=UWSGI, function="py_uwsgi_send_spool", by_python=True)


def test_an_old_uwsgi_that_spools_is_known() -> None:
    (by_call,) = over_releases.known(dead(version="2.0.17.1", past=(SPOOLED,)))
    assert "uWSGI 2.0.17.1" in by_call
    assert "thread 9 had been in py_uwsgi_send_spool" in by_call
    (by_option,) = over_releases.known(dead(UWSGI, "--spooler=jobs", version="2.0.13.1"))
    assert "--spooler=jobs on its command line" in by_option


@pytest.mark.parametrize(
    "snapshot",
    [
        dead("--spooler=jobs", version="2.0.18", past=(SPOOLED,)),
        dead("--spooler=jobs", version="2.0.28"),
        dead("--master", version="2.0.17.1"),
        dead("--spooler=jobs", version=""),
        dead("--spooler=jobs", version="2.0.17.1", path="/opt/app/lib/jobs.so"),
    ],
)
def test_others_are_not(snapshot: Snapshot) -> None:
    assert not list(over_releases.known(snapshot))


@pytest.mark.parametrize(("version", "heeds"), [((2, 7), False), ((3, 6), False), ((3, 7), True)])
def test_the_proof_is_one_that_this_python_has(version: tuple[int, int], heeds: bool) -> None:
    """UWSGI embeds Python: there 3.6 does not read PYTHONMALLOC."""
    snapshot = dead(UWSGI, version="2.0.17.1")
    snapshot = Snapshot(core=snapshot.core, damage=Damage(python=version))
    assert snapshot.core
    lines = list(over_releases.prove(snapshot, snapshot.core))
    assert any(line.startswith("PYTHONMALLOC=debug") for line in lines) is heeds
    assert any("--with-pydebug" in line for line in lines)


@pytest.mark.parametrize(
    ("library", "native", "instruction", "expected"),
    [
        ("/usr/lib/libpython2.7.so.1.0", False, "add qword ptr [r12], 1", "C002"),
        ("/usr/lib/libpython2.7.so.1.0", False, "mov rax, qword ptr [r12]", "C003"),
        ("/usr/lib/libpython2.7.so.1.0", False, "add qword ptr [r12 + 8], 1", "C003"),
        ("/opt/app/lib/jobs.so", True, "add qword ptr [r12], 1", "C003"),
    ],
)
def test_a_count_at_no_object_in_the_interpreters_loop(
    library: str, native: bool, instruction: str, expected: str
) -> None:
    """Python code cannot make its loop count what is no object; C code may do so itself."""
    core = CoreImage(path="core", machine="x86_64", pid=7, signal=CoreSignal(number=11, code=1, address=0))
    frame = Frame(function="run", file=library, line=3, native=native, library=library, address=5)
    seen = SeenThread(
        process=Process(pid=7, ppid=1, started=1, since=0.0, name="app", state="R"),
        thread=Thread(pid=7, tid=7, name="app", state="R"),
        stack=Stack(pid=7, tid=7, thread=None, frames=(frame,)),
    )
    fault = CoreFault(
        tid=7, signal=11, pc=5, sp=9, address=0, code="r-xp", library=library, instruction=instruction
    )
    assert core_causes.cause(Snapshot(core=core, threads=(seen,), fault=fault)) == expected
