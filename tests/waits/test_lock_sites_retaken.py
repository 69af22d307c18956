"""One thread that asks for what its own outer frame holds, and what came in between."""

from __future__ import annotations

import pytest

from diag.model.facts import Frame, Local, Stack
from diag.model.source import Sure
from diag.waits.lock_sites import handler_between, held, holding, retaken
from tests.waits.written import FILE, frame_at, locals_of, source_of, stack_of

SERVICE = """
    class Handler:
        def emit(self):
            with FileLock(self.lock_file_name):  # ASKS
                self.rotate()  # HOLDS

        def emit_other(self):
            with FileLock(self.other_name):
                self.rotate()  # HOLDS OTHER

    def on_term(signum, frame):
        log.info("leaving")  # HANDLER

    def main(handler):
        handler.emit()  # MAIN
    """
LIBRARY = """
    class FileLock:
        def __enter__(self):
            self.acquire()  # ENTER

        def acquire(self):
            while True:
                with self._thread_lock:
                    if not self.is_locked:
                        self._acquire()  # TAKES
                if self.is_locked:
                    log.info("acquired")  # LOGS
                    break
                else:
                    time.sleep(0.05)  # SLEEP
    """
LIB = "/srv/lib/site-packages/filelock.py"
SOURCES = {FILE: source_of(SERVICE), LIB: source_of(LIBRARY, LIB)}


def handler_stack(outer_self: str = "<Handler at 0x50>", holds: str = "HOLDS", method: str = "emit") -> Stack:
    lock = {"*self": "<FileLock at 0x90>"}
    path = {"lock_filename": '"/log/.rotate"'}
    return stack_of(
        frame_at(LIBRARY, "acquire", "SLEEP", file=LIB, values=lock | path),
        frame_at(LIBRARY, "__enter__", "ENTER", file=LIB, values=lock),
        frame_at(SERVICE, "emit", "ASKS", values={"*self": "<Handler at 0x50>"}),
        frame_at(SERVICE, "on_term", "HANDLER", values={"*signum": "15", "*frame": "<frame at 0x1>"}),
        frame_at(SERVICE, method, holds, values={"*self": outer_self}),
        frame_at(SERVICE, "main", "MAIN", values={"*handler": outer_self}),
    )


def test_a_signal_handler_asks_again() -> None:
    stack = handler_stack()
    found = retaken(stack, SOURCES, "/log/.rotate")
    assert found is not None
    assert (found.ask.asker, found.outer, found.sure) == (2, 4, Sure.SOURCE)
    assert found.site.where.line == found.ask.where.line == 4
    assert found.why.endswith("where self are the same in memory") or "self" in found.why
    handler = handler_between(stack, found.outer, found.ask.inner)
    assert handler is not None
    assert (handler.frame, handler.kind, handler.signal, handler.name) == (3, "signal", 15, "SIGTERM")


def interrupted_stack(mark: str) -> Stack:
    """The outer frame is still inside acquire(), on the line with ``mark``."""
    stack = handler_stack()
    lock = {"*self": "<FileLock at 0x80>"}
    return stack_of(
        *stack.frames[:4],
        frame_at(LIBRARY, "acquire", mark, file=LIB, values=lock),
        frame_at(LIBRARY, "__enter__", "ENTER", file=LIB, values=lock),
        frame_at(SERVICE, "emit", "ASKS", values={"*self": "<Handler at 0x50>"}),
        *stack.frames[5:],
    )


def test_a_lock_that_is_interrupted_after_it_got_it_is_its_user_s() -> None:
    stack = interrupted_stack("LOGS")
    found = retaken(stack, SOURCES, "/log/.rotate")
    assert found is not None
    assert (found.outer, found.sure) == (6, Sure.SOURCE)
    assert (found.site.where.line, found.site.expression) == (4, "FileLock(self.lock_file_name)")
    site = holding(stack, SOURCES, frozenset({"/log/.rotate"}), 7)
    assert site is not None
    assert site.where.file == FILE


def test_a_lock_that_is_interrupted_while_it_polls_is_not_held() -> None:
    assert retaken(interrupted_stack("SLEEP"), SOURCES, "/log/.rotate") is None


def test_another_object_of_the_same_class_is_only_a_pattern() -> None:
    found = retaken(handler_stack(outer_self="<Handler at 0x51>"), SOURCES, "/log/.rotate")
    assert found is not None
    assert found.sure is Sure.PATTERN


def test_another_lock_of_the_same_class_is_only_a_pattern() -> None:
    found = retaken(handler_stack(holds="HOLDS OTHER", method="emit_other"), SOURCES, "/log/.rotate")
    assert found is not None
    assert found.sure is Sure.PATTERN


def test_nothing_is_retaken_where_nothing_is_held() -> None:
    stack = handler_stack()
    assert retaken(stack_of(*stack.frames[:4]), SOURCES, "/log/.rotate") is None


BY_NAME = """
    def copy(path):
        f = open(path)
        fcntl.flock(f, fcntl.LOCK_EX)
        report(path)  # HOLDS

    def report(target):
        g = open(target)
        fcntl.flock(g, fcntl.LOCK_EX)  # ASKS
    """


def nested(outer: dict[str, str], inner: dict[str, str]) -> Stack:
    return stack_of(
        frame_at(BY_NAME, "report", "ASKS", values=inner), frame_at(BY_NAME, "copy", "HOLDS", values=outer)
    )


def test_the_same_object_in_memory_is_the_best_evidence() -> None:
    text = BY_NAME.replace("report(path)", "report(f)").replace("g = open(target)", "g = target")
    stack = nested({"f": "<file at 0x33>"}, {"*target": "<file at 0x33>", "g": "<file at 0x33>"})
    found = retaken(stack, {FILE: source_of(text)})
    assert found is not None
    assert (found.sure, found.why) == (Sure.MEMORY, "both are the object at 0x33")


def test_the_same_path_in_memory_is_as_good() -> None:
    text = BY_NAME.replace("fcntl.flock(f, fcntl.LOCK_EX)", "lock_file(path)")
    stack = nested({"*path": '"/run/a.lock"'}, {"*target": '"/run/a.lock"'})
    found = retaken(stack, {FILE: source_of(text)}, "/run/a.lock", blocked=True)
    assert found is not None
    assert (found.sure, found.why) == (Sure.MEMORY, "both name /run/a.lock")


def test_one_function_may_do_both() -> None:
    text = """
        def work(path):
            with FileLock(path):
                with FileLock(path):  # HERE
                    pass
        """
    frames = (
        frame_at(LIBRARY, "acquire", "SLEEP", file=LIB, values={"*self": "<FileLock at 0x9>"}),
        frame_at(text, "work", values={"*path": '"/run/a.lock"'}),
    )
    found = retaken(stack_of(*frames), {FILE: source_of(text), LIB: source_of(LIBRARY, LIB)}, "/run/a.lock")
    assert found is not None
    assert (found.outer, found.site.where.line, found.ask.where.line) == (1, 3, 4)


def test_changed_source_proves_nothing() -> None:
    stack = handler_stack()
    changed = {file: source_of(SERVICE if file == FILE else LIBRARY, file) for file in SOURCES}
    changed[FILE] = type(changed[FILE])(file=FILE, text=changed[FILE].text, changed=True)
    found = retaken(stack, changed, "/log/.rotate")
    assert found is not None
    assert found.sure is Sure.PATTERN


def between(*values: dict[str, str], function: str = "f", entry: bool = False) -> Stack:
    middle = Frame(function=function, file=FILE, line=5, entry=entry, locals=locals_of(values[0]))
    ends = Frame(function="g", file=FILE, line=1)
    return stack_of(ends, middle, ends)


REENTRIES = {
    "function": ({"*number": "10", "*frame": "<frame at 0x1>"}, "f", "signal"),
    "method": ({"*self": "<App at 0x2>", "*number": "1", "*frame": "<frame at 0x1>"}, "App.f", "signal"),
    "any arguments": ({"args": "(15, <frame at 0x7f0>)"}, "<lambda>", "signal"),
    "defaults behind": ({"*s": "2", "*f": "<frame at 0x1>", "*log": "None"}, "f", "signal"),
    "finalizer": ({"*self": "<App at 0x2>"}, "App.__del__", "finalizer"),
    "weak reference": ({"*ref": "<weakref at 0x2>"}, "f", "weakref"),
    "weak reference, 3.x": ({"*ref": "<weakref.ReferenceType at 0x2>"}, "f", "weakref"),
    "collector": ({"*phase": '"start"', "*info": '{"generation": 2, "collected": 0}'}, "f", "gc"),
    "trace": ({"*frame": "<frame at 0x1>", "*event": '"call"', "*arg": "None"}, "f", "trace"),
}


@pytest.mark.parametrize(("values", "function", "kind"), REENTRIES.values(), ids=REENTRIES)
def test_what_the_interpreter_calls_in_between(values: dict[str, str], function: str, kind: str) -> None:
    found = handler_between(between(values, function=function), 2, 0)
    assert found is not None
    assert (found.kind, found.frame) == (kind, 1)


PLAIN = {
    "a number and no frame": {"*number": "15", "*name": '"a"'},
    "a frame and no number": {"*frame": "<frame at 0x1>", "*n": "15"},
    "no signal has this number": {"*number": "99", "*frame": "<frame at 0x1>"},
    "locals are no arguments": {"number": "15", "frame": "<frame at 0x1>"},
    "nothing": {},
}


@pytest.mark.parametrize("values", PLAIN.values(), ids=PLAIN)
def test_plain_calls_are_no_handlers(values: dict[str, str]) -> None:
    assert handler_between(between(values), 2, 0) is None


def test_frames_outside_the_range_do_not_count() -> None:
    stack = between({"*number": "10", "*frame": "<frame at 0x1>"})
    assert handler_between(stack, 1, 0) is None
    assert handler_between(stack, 2, 2) is None


def test_the_handler_may_be_the_frame_that_asks() -> None:
    stack = between({"*number": "10", "*frame": "<frame at 0x1>"})
    found = handler_between(stack, 2, 1)
    assert found is not None
    assert found.name == "SIGUSR1"


def test_a_realtime_signal_has_no_name() -> None:
    found = handler_between(between({"*number": "44", "*frame": "<frame at 0x1>"}), 2, 0)
    assert found is not None
    assert found.name == "signal 44"


def test_held_needs_source() -> None:
    assert (
        held(Frame(function="f", file=FILE, line=1, locals=(Local(name="a", value="1", address=1),)), None)
        == ()
    )


THREADED = """
    def f(path):
        one = open(path); flock(one, LOCK_EX)  # HOLDS
        two = open(path); run(lambda: flock(two, LOCK_EX)); sleep()  # ASKS
    """


def test_a_lambda_has_nothing_of_the_function_it_is_written_in() -> None:
    stack = stack_of(frame_at(THREADED, "f.<locals>.<lambda>", "ASKS"))
    assert retaken(stack, {FILE: source_of(THREADED)}, blocked=True) is None
