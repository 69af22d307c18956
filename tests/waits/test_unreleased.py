"""Where a lock may be taken and never released, by the source of its file."""

from __future__ import annotations

import pytest

from diag.waits.lock_sites import Releases, releases
from tests.waits.written import source_of


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("def f():\n lock.acquire()\n work()\n lock.release()\n", [2]),
        ("def f(self):\n if not self.lock.acquire(1):\n  return\n work()\n self.lock.release()\n", [2]),
        ("def f():\n lock.acquire()\n x = 1\n try:\n  x()\n finally:\n  lock.release()\n", [2]),
        ("async def f():\n await lock.acquire()\n work()\n lock.release()\n", [2]),
        ("lock.acquire()\nwork()\nlock.release()\ndef f():\n with lock: pass\n", [1]),
    ],
)  # fmt: skip
def test_an_exception_or_a_return_can_go_past_the_release(text: str, lines: list[int]) -> None:
    assert [where.line for where in releases(source_of(text), "self.lock", 1, tasks=True).leaks] == lines


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n with lock:\n  work()\n",
        "def f():\n lock.acquire()\n try:\n  work()\n finally:\n  lock.release()\n",
        "def f():\n try:\n  lock.acquire()\n  work()\n finally:\n  lock.release()\n",
        "def f():\n lock.acquire()\n lock.release()\n",
        "def take():\n lock.acquire()\n",
        "def rows():\n lock.acquire()\n yield 1\n lock.release()\n",  # may be suspended inside
        "def f():\n other.acquire()\n work()\n other.release()\n",
        "def f():\n fcntl.flock(lock, fcntl.LOCK_EX)\n work()\n fcntl.flock(lock, fcntl.LOCK_UN)\n",
        "def f(:\n",
    ],
)
def test_the_source_does_not_tell(text: str) -> None:
    assert releases(source_of(text), "lock", 1, tasks=True) == Releases()


def test_a_coroutine_may_be_suspended_inside_a_lock_of_threads() -> None:
    text = "async def f():\n lock.acquire()\n await work()\n lock.release()\n"
    assert releases(source_of(text), "lock", 1) == Releases()


@pytest.mark.parametrize(
    "text",
    [
        "def begin():\n lock.acquire()\ndef end():\n lock.release()\n",
        "def f():\n lock.acquire()\n work()\n lock.release()\ndef end():\n lock.release()\n",
        "def f():\n lock.acquire()\n start(lambda: (work(), lock.release()))\n",
        "def f():\n lock.acquire()\n Timer(5, lock.release).start()\n",
    ],
)
def test_one_function_releases_what_another_has_taken(text: str) -> None:
    assert releases(source_of(text), "lock", 1) == Releases(handed_over=True)


TWINS = """
class One:
    def take(self):
        self.lock.acquire()
        work()
        self.lock.release()
class Two:
    def wait(self):
        with self.lock:
            work()
"""


def test_another_class_has_another_lock() -> None:
    assert releases(source_of(TWINS), "self.lock", 9) == Releases()
    assert [where.line for where in releases(source_of(TWINS), "self.lock", 4).leaks] == [4]
