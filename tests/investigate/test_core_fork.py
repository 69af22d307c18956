"""Which lines only the child of a fork comes to, as sources are written."""

from __future__ import annotations

import pytest

from diag.investigate.core_fork import is_child

EQUAL = """\
def spawn(job):
    pid = os.fork()
    if pid == 0:
        job()            # child
        os._exit(0)
    os.waitpid(pid, 0)   # parent
"""
NOT = """\
def spawn(job):
    pid = os.fork()
    if not pid:
        try:
            job()        # child
        finally:
            os._exit(0)
    else:
        os.waitpid(pid, 0)  # parent
"""
ELSE = """\
def spawn(job):
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)  # parent
    else:
        job()            # child
"""
RETURNS = """\
def spawn(self, job):
    pid = os.fork()
    if pid != 0:
        self.pids.add(pid)
        return pid
    self.setup()
    job()                # child
"""
INLINE = """\
def spawn(job):
    if os.fork() == 0:
        job()            # child
    os.wait()            # parent
"""
NONE = """\
def spawn(job):
    if job == 0:
        job()            # parent
"""


@pytest.mark.parametrize("text", [EQUAL, NOT, ELSE, RETURNS, INLINE, NONE])
def test_each_line_is_told(text: str) -> None:
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if "# child" in line:
            assert is_child(lines, number), line
        if "# parent" in line:
            assert not is_child(lines, number), line


def test_lines_that_are_not_there() -> None:
    assert not is_child([], 1)
    assert not is_child(["x"], 0)
