"""Which locks a frame holds on a line, by the structure of its function."""

from __future__ import annotations

import textwrap

import pytest

from diag.model.facts import Frame
from diag.waits.lock_sites import held
from tests.waits.written import FILE, frame_at, locals_of, source_of

FLOW = """
    def f(self, path, lock):
        start()  # nothing
        lock.acquire()
        try:
            with FileLock(self.name) as a, open(path) as b:
                fd = 3
                fcntl.flock(fd, fcntl.LOCK_EX)
                work()  # lock, FileLock(self.name), fd
                fcntl.flock(fd, fcntl.LOCK_UN)
                work()  # lock, FileLock(self.name)
            work()  # lock
        except Error:
            work()  # lock
        finally:
            lock.release()
        work()  # nothing
        if not lock.acquire(False):
            return complain()  # nothing
        work()  # lock
        if self.free:
            lock.release()
            return cleanup()  # nothing
        work()  # lock
        while not self.lock.try_lock():
            pause()  # lock
        work()  # lock, self.lock
        self.lock.unlock()
        lock.release()
        if other.acquire(0):
            work()  # other
            other.release()
        else:
            complain()  # nothing
        while True:
            try:
                fcntl.lockf(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except IOError, error:
                time.sleep(1)  # nothing
        work()  # path
    """


def marked(text: str) -> list[tuple[int, str]]:
    lines = textwrap.dedent(text).splitlines()
    found = [(number, line.partition("  # ")[2]) for number, line in enumerate(lines, 1) if "  # " in line]
    return [(number, "" if mark == "nothing" else mark) for number, mark in found]


@pytest.mark.parametrize(("line", "targets"), marked(FLOW))
def test_what_is_held_on_a_line(line: int, targets: str) -> None:
    sites = held(Frame(function="f", file=FILE, line=line), source_of(FLOW))
    assert ", ".join(site.target for site in sites) == targets


WITHS = {
    "self.lock": True,
    "self._rotate_lock.write()": True,
    "FileLock(path)": True,
    "filelock.SoftFileLock(path, timeout=3)": True,
    "portalocker.Lock(path)": True,
    "lock_file(path)": True,
    "self.locks[key]": True,
    "mutex": True,
    "exclusive(path)": True,  # the file says what it does
    "guard": True,  # its type says what it is
    "open(path)": False,
    "open(lock_path)": False,
    "suppress(LockError)": False,
    "timer.clock()": False,
    "block": False,
    "self.pool.connection()": False,
}


@pytest.mark.parametrize(("expression", "speaks"), WITHS.items(), ids=WITHS)
def test_with_what_speaks_of_a_lock(expression: str, speaks: bool) -> None:
    text = f"""
        @contextmanager
        def exclusive(path):
            with open(path) as f:
                fcntl.flock(f, fcntl.LOCK_EX)
                yield

        def f(self, path, guard):
            with {expression}:
                work()  # HERE
        """
    frame = frame_at(text, "f", values={"*guard": "<_thread.RLock at 0x77>"})
    assert bool(held(frame, source_of(text))) is speaks


def test_a_site_says_where_what_and_which_object() -> None:
    text = """
        def f(lock, self):
            with lock:
                with self.lock:
                    work()  # HERE
        """
    frame = frame_at(
        text, "Worker.f", values={"*lock": "<_thread.lock at 0x70>", "*self": "<Worker at 0x80>"}
    )
    first, second = held(frame, source_of(text))
    assert (first.where.line, first.expression, first.how, first.address) == (3, "lock", "with", 0x70)
    assert (second.where.line, second.target, second.address, second.base) == (4, "self.lock", None, 0x80)


def test_the_header_of_a_with_is_inside_the_items_before() -> None:
    text = """
        def f(a_lock, b_lock):
            with a_lock, \\
                 b_lock:  # HERE
                work()
        """
    (site,) = held(frame_at(text, "f"), source_of(text))
    assert site.target == "a_lock"


def test_the_callee_tells_which_item_is_being_entered() -> None:
    text = """
        def f(path):
            with FileLock(path), SoftLock(path):  # HERE
                work()
        """
    frame = frame_at(text, "f")
    assert held(frame, source_of(text)) == ()
    enter = Frame(function="__enter__", file=FILE, line=1, locals=locals_of({"*self": "<SoftLock at 0x7>"}))
    (site,) = held(frame, source_of(text), enter)
    assert site.target == "FileLock(path)"


def test_nested_functions_and_comprehensions_are_not_the_frame() -> None:
    text = """
        def f(lock):
            lock.acquire()
            def g():
                return work()  # HERE
            return g
        """
    assert held(frame_at(text, "f.<locals>.g"), source_of(text)) == ()


def test_a_module_holds_locks_too() -> None:
    text = """
        import fcntl
        f = open("/run/a.lock", "w")
        fcntl.flock(f, fcntl.LOCK_EX)
        main()  # HERE
        """
    (site,) = held(frame_at(text, "<module>"), source_of(text))
    assert (site.where.line, site.expression, site.target) == (4, "fcntl.flock(f, fcntl.LOCK_EX)", "f")


def test_closing_the_file_releases_its_lock() -> None:
    text = """
        def f():
            fcntl.flock(handle, fcntl.LOCK_EX)
            handle.close()
            work()  # HERE
        """
    assert held(frame_at(text, "f"), source_of(text)) == ()
