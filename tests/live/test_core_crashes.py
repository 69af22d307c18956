"""C001 to C012 by cores of processes that really died: victim, cause and suspects."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from diag.collectors import process
from diag.collectors.pyobjects import PyObjects, free_lists
from diag.host import CoreSource, LiveHost
from tests.support.cli import Answer, diag
from tests.support.cores import die, extension, gcore
from tests.support.crashes import build
from tests.support.interpreters import interpreter, on_pythons, packages, version_of
from tests.support.processes import PROGRAMS, running, threads_in, wait_until
from tests.support.require import need_tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from diag.host import CoreView
    from diag.model.facts import Process
    from tests.support.servers import MariaDB

pytestmark = pytest.mark.live


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A place for cores, which are large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@on_pythons("2.7", "3.8", "3.11", "3.13")  # other kinds of objects on the others, below
def test_an_extension_that_releases_what_it_borrowed(python: str, directory: Path) -> None:
    answer = dead_of_references(python, directory)
    found = answer.found(answer.codes[0])
    suspects = answer.json["core"]["suspects"]
    assert suspects[0]["function"] in ("spool", None)  # None: it had returned just before
    assert not any("libpython" in one["library"] or "libc" in one["library"] for one in suspects)
    assert any("overrelease" in line for line in found["check"])
    assert found["victims"][0]["tid"] == answer.json["core"]["fault"]["tid"]
    if answer.codes == ["C002"]:
        assert found["culprit"] is None or found["culprit"]["library"] == "jobqueue.so"
        known = "--with-pydebug" if version_of(python) == "2.7" else "PYTHONMALLOC=debug"
        assert any(known in line for line in found["check"]), found["check"]


@pytest.mark.parametrize(
    ("python", "kind"),
    [
        ("2.7", "function"),
        ("3.6", "object"),
        ("3.8", "object"),
        ("3.7", "set"),
        ("3.12", "object"),
        ("3.13", "dict"),
    ],
    indirect=["python"],
)
def test_objects_of_any_kind_released_too_often(python: str, kind: str, directory: Path) -> None:
    """Whoever stumbles over them: functions that find no type, the loop that runs Python, weak references."""
    dead_of_references(python, directory, kind)


def dead_of_references(python: str, directory: Path, *kind: str) -> Answer:
    """Let the faulty extension kill its process; diag finds that out, and whose fault it was."""
    extension(python, directory)
    # What is damaged may also make it loop for ever: then once more.
    program = [python, str(PROGRAMS / "overrelease.py"), *kind]
    answer = diag("core", die(program, directory, env={"PYTHONPATH": str(directory)}, tries=6))
    # Now and then the C library notices it first: then the heap is the victim, with the same suspects.
    assert answer.codes in (["C002"], ["C006"]), answer
    assert answer.code == 3
    assert answer.found(answer.codes[0])["confidence"] in ("certain", "likely")
    suspects = answer.json["core"]["suspects"]
    assert suspects[0]["library"] == str(directory / "jobqueue.so"), suspects
    return answer


@pytest.mark.parametrize(
    ("python", "value"),
    [
        ("2.7", "{'n': n}"),
        ("2.7", "[n]"),
        ("3.6", "n * 1.5"),
        ("3.8", "n * 1.5"),
        ("3.11", "[n]"),
        ("3.12", "n * 1.5"),
        ("3.13", "(n, n)"),
    ],
    indirect=["python"],
)
def test_what_variables_lead_to_was_freed(python: str, value: str, directory: Path) -> None:
    """No second thread, and the death may look like any use of NULL: memory tells what had been freed."""
    extension(python, directory)
    program = (
        "import jobqueue\norders = {}\n"
        "for n in range(100000):\n"
        f"    lines = [{value}]\n    orders[n % 50] = lines\n"
        "    one = jobqueue.first(lines)\n    del one\n    str(orders.get(n * 7 % 50))\n"
    )
    answer = diag("core", die([python, "-c", program], directory, env={"PYTHONPATH": str(directory)}))
    assert answer.codes == ["C002"], answer
    first = answer.json["core"]["suspects"][0]
    assert first["library"] == str(directory / "jobqueue.so")
    assert any("calls it (jobqueue" in why for why in first["why"]), first
    found = answer.found("C002")
    if found["confidence"] == "likely":
        assert re.search("variable|free (?:list|block)", str(found["evidence"])), answer


@on_pythons("2.7", "3.6", "3.10", "3.13")
def test_a_healthy_memory_has_no_damage(python: str, directory: Path) -> None:
    """Objects come and go in three threads and in the middle of a collection; then C code uses NULL."""
    (directory / "churn.py").write_text(
        "import ctypes, gc, json, threading, time\n"
        "class Last(object):\n"
        "    def __del__(self): ctypes.PyDLL(None).PyObject_GetIter(None)\n"
        "def churn():\n"
        "    kept = []\n"
        "    while True:\n"
        "        for n in range(50):\n"
        "            kept.append((json.loads(json.dumps({'a': n})), {n}, [n] * (n % 5), (n,) * (n % 7)))\n"
        "        del kept[:-200]\n"
        "for n in range(3):\n"
        "    thread = threading.Thread(target=churn)\n    thread.daemon = True\n    thread.start()\n"
        "time.sleep(0.4)\none = Last()\none.ring = [one]\ndel one\ngc.collect()\ntime.sleep(0.5)\n"
        "Last()\n"
    )
    core = die([python, "churn.py"], directory)
    answer = diag("core", core)
    assert answer.codes == ["C003"], answer
    assert not any("freed" in line for line in answer.found("C003")["against"]), answer
    view = LiveHost().inside(CoreSource(path=str(core)))
    blocks = view.free_blocks()
    assert (blocks.found, blocks.cut) == ((), False)
    assert blocks.pools > 50
    objects = PyObjects.attach(view, one_process(view))
    assert isinstance(objects, PyObjects)
    assert free_lists.check(objects) == []


def one_process(view: CoreView) -> Process:
    found = process.collect(view, view.image().pid, view.clock())
    assert found
    return found


@pytest.mark.parametrize("python", ["2.7", "3.13"], indirect=True)
@pytest.mark.parametrize("call", ["PyObject_CallObject(py(dict), py(()))", "PyErr_Occurred()"])
def test_python_called_without_its_lock(python: str, call: str, directory: Path) -> None:
    """The state of the thread is NULL then, which damages no object."""
    code = f"import ctypes; py = ctypes.py_object; ctypes.CDLL(None).{call}; ctypes.CDLL(None).abort()"
    answer = diag("core", die([python, "-c", code], directory))
    if "abort" in answer.stdout and answer.codes == ["C012"]:
        return  # this version lets it pass
    assert answer.codes == ["C003"], answer
    assert "did not have the interpreter lock" in answer.found("C003")["summary"]


@pytest.mark.parametrize(
    ("how", "thread", "code", "symbol"),
    [
        ("read-null", True, "C003", "read_field"),
        ("write-null", False, "C003", "write_field"),
        ("call-null", True, "C005", "call"),
        ("call-data", False, "C005", "call"),
        ("overflow", True, "C004", "recurse"),
        ("overflow", False, "C004", "recurse"),
        ("illegal", False, "C011", "illegal"),
        ("divide", True, "C011", "divide"),
        ("wild", False, "C012", "read_field"),
    ],
)
def test_native_faults(directory: Path, how: str, thread: bool, code: str, symbol: str) -> None:
    crasher = build(directory)
    words = [str(crasher.home / "crash"), how, *(["thread"] if thread else [])]
    core = die(words, directory, env={"LD_LIBRARY_PATH": str(directory)})
    answer = diag("core", core)
    assert answer.codes == [code], answer
    found = answer.found(code)
    assert found["culprit"]["library"] == "libfaults.so.1"
    assert found["culprit"]["symbol"] == symbol
    fault = answer.json["core"]["fault"]
    first = answer.json["core"]["threads"][0]
    assert fault["tid"] == first["tid"]
    assert any(frame["function"] == symbol for frame in first["frames"])
    if how == "read-null":
        assert fault["address"] == "0x1b8"
        assert "which is NULL" in fault["words"][1]
    if how == "wild":
        assert "no address but text: 'AAAAAAAA'" in fault["words"][1]


@pytest.mark.parametrize("how", ["double", "overrun"])
def test_a_damaged_heap(directory: Path, how: str) -> None:
    program = directory / "heap"
    source = str(PROGRAMS / "heap.c")
    subprocess.run([need_tool("gcc"), "-g", "-w", source, "-o", program], check=True)
    answer = diag("core", die([str(program), how], directory))
    assert answer.codes == ["C006"], answer
    found = answer.found("C006")
    assert found["confidence"] == "certain"
    assert found["culprit"]["library"] == "heap"
    assert any("__abort_msg" in item["source"] for item in found["evidence"])


@on_pythons("3.6", "3.13")
def test_a_handler_of_the_process_itself_is_seen_through(python: str, directory: Path) -> None:
    """Faulthandler raises the signal again: the core's own signal is sent by the process to itself."""
    code = "import ctypes; ctypes.string_at(0)"
    answer = diag("core", die([python, "-X", "faulthandler", "-c", code], directory))
    assert answer.codes == ["C003"], answer
    assert answer.json["core"]["fault"]["address"] == "0x0"


def test_a_crash_among_many_threads(directory: Path) -> None:
    """There nobody else is asked for frames, and the dying thread's have the same names."""
    code = (
        "import ctypes, threading\n"
        "ended = threading.Event()\n"
        "for n in range(80): threading.Thread(target=ended.wait, daemon=True).start()\n"
        "ctypes.PyDLL(None).PyObject_GetIter(None)\n"
    )
    answer = diag("core", die([interpreter("3.12"), "-c", code], directory))
    assert answer.codes == ["C003"], answer
    first, *others = answer.json["core"]["threads"]
    assert len(others) == 80
    assert first["owns_gil"]
    assert "PyObject_GetIter" in [frame["function"] for frame in first["frames"][:3]]
    assert all(len(thread["frames"]) > 8 for thread in others)


def test_the_libraries_of_a_core_are_known(directory: Path) -> None:
    core = die([interpreter("3.12"), "-c", "import ctypes; ctypes.string_at(0)"], directory)
    libraries = diag("core", core).json["core"]["libraries"]
    libc = next(one for one in libraries if "/libc.so." in one["path"])
    assert (libc["version"], libc["now"]) == ("6", "same")
    assert len(libc["build_id"]) == 40


@pytest.mark.parametrize(
    ("compiler", "body", "says"),
    [
        ("gcc", "char small[8]; strcpy(small, text); return small[0];", "stack smashing"),
        ("gcc", "assert(!text[0]); return 0;", "Assertion"),
        ("g++", "throw 7; return text[0];", "C++ exception"),
    ],
)
def test_who_gave_up_is_named_and_not_how(compiler: str, body: str, says: str, directory: Path) -> None:
    """Neither the C library's nor C++'s own functions that end a process are where it died."""
    source = directory / f"gives_up.{'cc' if compiler == 'g++' else 'c'}"
    source.write_text(
        "#include <assert.h>\n#include <string.h>\n"
        f"__attribute__((noinline)) int give_up(const char *text) {{ {body} }}\n"
        'int main(void) { return give_up("a text that is much longer than that"); }\n'
    )
    flags = ["-g", "-O1", "-w", "-U_FORTIFY_SOURCE", "-fstack-protector-all"]
    subprocess.run([need_tool(compiler), *flags, str(source), "-o", str(directory / "gives_up")], check=True)
    answer = diag("core", die([str(directory / "gives_up")], directory))
    assert answer.codes == ["C012"], answer
    found = answer.found("C012")
    assert re.search(r"died in (?:give_up|_Z7give_up)", found["summary"]), found
    assert says in found["summary"]
    assert found["culprit"]["library"] == "gives_up"


def test_an_abort_of_the_program_is_not_explained_away(directory: Path) -> None:
    answer = diag("core", die([interpreter("3.12"), "-c", "import os; os.abort()"], directory))
    assert answer.codes == ["C012"], answer
    assert "os_abort" in answer.found("C012")["summary"]


def test_a_signal_from_outside_is_no_fault_of_the_process(directory: Path) -> None:
    code = (
        "import os, subprocess, time\n"
        "subprocess.Popen(['sh', '-c', 'sleep 0.3; kill -ABRT %d' % os.getpid()])\n"
        "time.sleep(30)"
    )
    answer = diag("core", die([interpreter("3.12"), "-c", code], directory))
    assert (answer.code, answer.codes) == (0, []), answer
    assert "sent by process" in answer.json["core"]["signal"]["words"]


def test_a_recording_of_a_crash_says_the_same(directory: Path) -> None:
    code = "import ctypes; ctypes.string_at(0)"
    core = die([interpreter("3.12"), "-c", code], directory)
    tape = directory / "tape"
    recorded = diag("record", "-o", tape, "--", "core", core, "--format", "json", form="terminal")
    core.unlink()
    assert diag("core", core, "--replay", tape).stdout == recorded.stdout
    assert '"C003"' in recorded.stdout


def test_the_log_of_the_service_is_read_with_it(directory: Path) -> None:
    core = die([interpreter("3.12"), "-c", "import ctypes; ctypes.string_at(0)"], directory)
    pid = diag("core", core).json["core"]["pid"]
    (directory / "uwsgi.log").write_text(
        f"spawned uWSGI worker 2 (pid: {pid}, cores: 1)\n"
        f"[pid: {pid}|app: 0|req: 1/1] 127.0.0.1 () GET /orders => generated 2 bytes\n"
        f"!!! uWSGI process {pid} got Segmentation Fault !!!\n"
        f"DAMN ! worker 2 (pid: {pid}) died, killed by signal 11 :( trying respawn ...\n"
    )
    answer = diag("core", core, "--log", directory / "uwsgi.log")
    found = answer.found("C003")
    assert "worker 2" in found["summary"]
    assert any("/orders" in item["text"] for item in found["evidence"])
    assert answer.json["core"]["logs"][0]["began"]["line"] == 1
    missing = diag("core", core, "--log", directory / "none")
    assert any("none" in gap["source"] for gap in missing.json["gaps"])


@on_pythons("2.7", "3.11")
def test_a_connection_shared_by_threads(python: str, database: MariaDB, directory: Path) -> None:
    """The core of a worker that died in the client library, while others had the same connection."""
    client = packages(python, "mysqlclient==1.4.6" if version_of(python) == "2.7" else "mysqlclient==2.2.7")
    program = [python, str(PROGRAMS / "mysql_shared.py"), "worker", str(database.port)]
    for _ in range(12):  # now and then nobody else has the connection any more, or the heap notices first
        core = die(program, directory, env={"PYTHONPATH": str(client)}, timeout=120)
        answer = diag("core", core)
        core.unlink()
        if answer.codes == ["C001"] and answer.found("C001")["confidence"] != "possible":
            break
    found = answer.found("C001")
    assert "Connection at 0x" in found["summary"] or "Cursor at 0x" in found["summary"]
    assert found["culprit"]["library"].startswith("libmariadb")


def test_a_library_that_was_replaced_below_its_process(directory: Path) -> None:
    """Two versions in one process are told beside the crash; the healthy upgrade is not."""
    (directory / "library.c").write_text("int at(int *p) { return *p + VERSION; }\n")
    for version in (1, 2):
        target = directory / f"libparts.so.{version}"
        command = [
            "gcc",
            "-g",
            "-shared",
            "-fPIC",
            f"-DVERSION={version}",
            "-Wl,--build-id",
            "-o",
            str(target),
        ]
        subprocess.run([*command, str(directory / "library.c")], check=True)
    (directory / "main.c").write_text(
        "#include <dlfcn.h>\n#include <stdio.h>\n#include <stdlib.h>\n"
        'int main(int n, char **v) { int (*at)(int *) = dlsym(dlopen(v[1], RTLD_NOW), "at");\n'
        "  if (n > 2) { rename(v[2], v[1]); dlopen(v[3], RTLD_NOW); }\n"
        "  return at(NULL); }\n"
    )
    program = directory / "main"
    subprocess.run([need_tool("gcc"), "-g", "-o", program, str(directory / "main.c"), "-ldl"], check=True)
    first, second = (str(directory / f"libparts.so.{version}") for version in (1, 2))
    assert diag("core", die([str(program), first], directory)).codes == ["C003"]
    answer = diag("core", die([str(program), first, second, f"{directory}/./libparts.so.1"], directory))
    assert sorted(answer.codes) == ["C003", "C009"], answer
    found = answer.found("C009")
    assert (found["confidence"], found["culprit"]["library"]) == ("likely", "libparts.so.1")
    assert "two versions" in found["summary"]


def test_openmp_after_a_fork(directory: Path) -> None:
    """GNU's OpenMP waits in the child for threads of the parent; the parent, with its team, is healthy."""
    program = directory / "openmp"
    source = str(PROGRAMS / "fork_openmp.c")
    subprocess.run([need_tool("gcc"), "-O1", "-g", "-fopenmp", source, "-o", program], check=True)
    with running(("env",), str(program)) as parent:
        child = parent.said["child"]
        wait_until(lambda: bool(threads_in(child, "futex")), "the child sleeps in a futex")
        stuck, healthy = gcore(child, directory), gcore(parent.pid, directory)
    answer = diag("core", stuck)
    assert answer.codes == ["C010"], answer
    assert answer.found("C010")["culprit"]["library"].startswith("libgomp")
    answer = diag("core", healthy)
    assert (answer.code, answer.codes) == (0, []), answer
