from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.crashes import book as module
from diag.crashes.groups import group
from tests.crashes.logs import START, book, celery, read, segfault

if TYPE_CHECKING:
    import pytest


def test_one_event_in_two_logs_counts_once() -> None:
    line = segfault()
    kept = book(read(line, name="messages"), read("x", line, name="kern.log"))
    (event,) = kept.events
    assert str(event.at) == "messages:1"
    assert [str(at) for at in event.also] == ["kern.log:2"]


def test_the_ring_buffer_and_a_log_tell_of_one_event_though_their_clocks_differ() -> None:
    ring = segfault().partition("kernel: ")[2]
    kept = book(read(segfault(), name="messages"), read(ring, name="kernel ring buffer"))
    assert len(kept.events) == 1
    assert kept.events[0].time == START


def test_equal_lines_in_one_log_are_two_events() -> None:
    line = celery(START)
    assert len(book(read(line, line)).events) == 2


def test_the_same_thread_id_another_day_is_another_event() -> None:
    kept = book(read(segfault(START), name="a"), read(segfault(START + 3600), name="b"))
    assert len(kept.events) == 2


def test_memory_is_bounded_and_the_count_still_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST", 3)
    monkeypatch.setattr(module, "LAST", 2)
    kept = book(read(*(segfault(START + tid, tid=tid) for tid in range(1, 10))))
    assert [event.pid for event in kept.events] == [1, 2, 3, 8, 9]
    (one,) = group(kept.events, left_out=kept.left_out)
    assert (one.count, one.left_out, one.first, one.last) == (9, 4, START + 1, START + 9)


def test_equal_lines_without_end_take_no_quadratic_time() -> None:
    events = read(*["Fatal Python error: Aborted"] * 20_000)
    begin = time.process_time()
    assert len(book(events).events) == 20_000
    assert time.process_time() - begin < 5


def test_one_event_is_known_by_the_kernels_clock_though_the_host_slept_in_between() -> None:
    ring = segfault().partition("kernel: ")[2]
    (told,) = read(ring, name="kernel ring buffer")
    kept = book(read(segfault(), name="messages"), [replace(told, time=START + 7200)])
    assert len(kept.events) == 1
