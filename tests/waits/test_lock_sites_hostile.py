"""Source text is hostile: whatever it is, the answer comes, in bounded time, and nothing is raised."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diag.collectors.source import LIMIT
from diag.model.facts import Frame, Local
from diag.model.source import Source
from diag.waits.lock_sites import asking, doing, handler_between, held, retaken, signaller
from diag.waits.lock_sites.syntax import parse
from tests.waits.test_lock_sites_asking import HEALTHY, POLLERS
from tests.waits.test_lock_sites_held import FLOW
from tests.waits.written import FILE, stack_of

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.hostile

WORDS = (
    "def", "take", "(", ")", ":", "with", "as", "try", "except", "finally", "else", "elif", "if", "not",
    "while", "for", "in", "import", "lambda", "class", "return", "break", "continue", "lock", ".",
    "acquire", "release", "FileLock", "path", "fcntl", "flock", "LOCK_EX", "LOCK_UN", "os", "O_EXCL",
    "kill", "time", "sleep", "0.1", ",", "=", "True", "False", "None", "#", "'", '"', '"""', "\\", "{",
    "}", "[", "]", "@", ";", "`", "<>", "print", "exec", "yield", "\n", "\n    ", "\n        ",
    "\n            ", "\t", "\x00", "\r", "\x0c", "\N{SNOWMAN}", "async ", "await ", "*args", "**kw",
)  # fmt: skip


def look(text: bytes, line: int, function: str = "take", values: Sequence[Local] = ()) -> None:
    """Ask everything that reads source about a frame on this line."""
    frame = Frame(function=function, file=FILE, line=line, locals=tuple(values))
    callee = Frame(function="__enter__", file=FILE, line=line + 1, locals=tuple(values))
    sources = {FILE: Source(file=FILE, text=text)}
    for stack in (stack_of(frame), stack_of(frame, frame), stack_of(callee, frame)):
        asking(stack, sources)
        asking(stack, sources, blocked=True)
        retaken(stack, sources, "/run/a.lock", blocked=True)
        handler_between(stack, 2, 0)
        signaller(stack, sources, frozenset({1}))
        doing(stack, sources)
    held(frame, sources[FILE], callee)


WRITTEN = (FLOW, *POLLERS.values(), *HEALTHY.values())
PY_SPY = ('"/run/a.lock"', "<frame at 0x1>", "<file at 0x2>", "15", '("/a"', "(15, <frame at 0x7)", '"')
values = st.builds(
    Local,
    name=st.sampled_from(["self", "lock", "path", "fd", "frame", "n", "args"]),
    value=st.one_of(st.text(max_size=20), st.sampled_from(PY_SPY)),
    address=st.integers(0, 2**63),
    argument=st.booleans(),
)
fuzz = settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.too_slow])


@fuzz
@given(st.lists(st.sampled_from(WORDS), max_size=60), st.integers(0, 30), st.lists(values, max_size=4))
def test_any_sequence_of_words(words: list[str], line: int, names: list[Local]) -> None:
    text = "def take():\n    " + " ".join(words)
    look(text.encode(), line, values=names)


@fuzz
@given(st.binary(max_size=400), st.integers(-3, 50))
def test_any_bytes(text: bytes, line: int) -> None:
    look(text, line, function="<module>")


@fuzz
@given(
    st.sampled_from([FLOW, *POLLERS.values(), *HEALTHY.values()]),
    st.integers(0, 600),
    st.integers(0, 600),
    st.integers(1, 60),
)
def test_torn_source(text: str, start: int, length: int, line: int) -> None:
    torn = text[:start] + text[start + length :]
    look(torn.encode(), line, function="f" if text is FLOW else "take")


HOSTILE = {
    "brackets": b"def take():\n    x = " + b"(" * 300_000,
    "indented": b"def take():\n" + b"".join(b" " * n + b"if x:\n" for n in range(1, 1500)),
    "functions in functions": b"".join(b" " * n + b"def take():\n" for n in range(1500)),
    "withs": b"def take():\n" + b"".join(b" " * n + b"with lock:\n" for n in range(1, 1000)),
    "a long line": b"def take():\n    x = " + b"lock.acquire() + " * 120_000,
    "a long chain": b"def take():\n    x" + b".acquire()" * 100_000,
    "zeros": b"\0" * 2_000_000,
    "handlers": b"except E, e:\n" * 100_000,
    "tries": b"def take():\n    while 1:\n" + b"        try: flock(f)\n        except E: sleep(1)\n" * 20_000,
    "noise": random.Random(1).randbytes(1_000_000),
    "no newline": b"x" * 2_000_000,
    "strings": b'"""' * 500_000,
    "decorators": b"@" * 500_000,
    "lambdas": b"def take():\n    x = " + b"lambda: " * 200_000,
    "elifs": b"def take():\n    if a: pass\n" + b"    elif lock.acquire(0): pass\n" * 30_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_source_is_answered_in_bounded_time(text: bytes) -> None:
    last = text.count(b"\n") + 1
    parse.cache_clear()
    start = time.process_time()
    for line in {2, 500, last}:
        look(text[:LIMIT], line)  # more is never handed on
    assert time.process_time() - start < 10


LARGE = {
    "tries": b"        try: flock(f)\n        except E: sleep(1)\n",
    "loops": b"        while acquired: lock.acquire(); sleep(1); f.write('a', b, c)\n",
    "results": b"        a = lock.acquire(False); sleep(1)\n",
    "withs": b"        with lock: sleep(1)\n",
    "kills": b"        os.kill(pid, 15); sleep(1)\n",
}


@pytest.mark.parametrize("line", LARGE.values(), ids=LARGE)
def test_a_function_of_a_thousand_tries_is_answered_in_bounded_time(line: bytes) -> None:
    text = b"def take():\n    while 1:\n" + line * 1000
    start = time.process_time()
    for number in (2, 60, text.count(b"\n")):
        look(text, number)
    assert time.process_time() - start < 10
