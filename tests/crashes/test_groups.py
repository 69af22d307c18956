from __future__ import annotations

import time

from diag.crashes.groups import group
from tests.crashes.logs import MAP, START, celery, groups, kernel, read, segfault


def test_the_same_place_is_one_group_with_its_rhythm() -> None:
    (group,) = groups(*(segfault(START + hour * 3600 + 2, tid=hour + 5) for hour in range(4)))
    assert (group.program, group.library, group.offset, group.count) == ("app", "libx.so", 0x10, 4)
    assert (group.first, group.last, group.period) == (START + 2, START + 3 * 3600 + 2, "hourly at minute 0")


def test_other_places_programs_and_kinds_are_other_groups() -> None:
    found = groups(
        segfault(),
        segfault(ip=0x7F0000001020),
        segfault(name="other"),
        segfault(tail=" in liby.so[7f0000001000+2000]"),
        kernel(f"traps: app[77] general protection fault ip:7f0000001010 sp:7f24d3ffdc20 error:0{MAP}"),
    )
    assert [group.count for group in found] == [1] * 5


def test_a_library_that_only_lies_above_a_bad_address_makes_no_group() -> None:
    jumps = [
        segfault(address=0, ip=0, error=0x14, tail=f" in {name}[7f0000001000+2000]")
        for name in ("a.so", "b.so")
    ]
    (group,) = groups(*jumps)
    assert (group.library, group.offset, group.count) == (None, None, 2)


def test_what_celery_says_joins_the_kernels_line_by_time_though_the_numbers_differ() -> None:
    (group,) = groups(segfault(START, tid=6406), celery(START + 4, pid=25883))
    assert (group.count, [event.form for event in group.reports]) == (1, ["billiard-exit"])


def test_a_report_too_late_or_of_another_signal_is_a_death_of_its_own() -> None:
    assert len(groups(segfault(START), celery(START + 60))) == 2
    assert len(groups(segfault(START), celery(START + 4, signal=9))) == 2


def test_each_kernel_line_has_one_report_of_a_form() -> None:
    found = groups(segfault(START), celery(START + 1), celery(START + 2, pid=501))
    assert sorted(group.count for group in found) == [1, 1]
    assert sum(len(group.reports) for group in found) == 1


def test_what_supervisord_calls_a_program_is_no_threads_name() -> None:
    stamp = celery(START + 1).partition(": ")[0].lstrip("[")
    (group,) = groups(segfault(START), f"{stamp} INFO exited: web (terminated by SIGSEGV; not expected)")
    assert (group.count, [event.form for event in group.reports]) == (1, ["supervisord"])


def test_who_caught_the_signal_tells_of_another_death_than_the_kernel() -> None:
    stamp = celery(START + 1).partition(": ")[0].lstrip("[")
    found = groups(
        segfault(START), f"{stamp} [signal SIGSEGV: segmentation violation code=0x1 addr=0x8 pc=0x5]"
    )
    assert sorted(group.count for group in found) == [1, 1]


def test_several_reports_of_one_death_count_once() -> None:
    lost = celery(START).replace("Process 'Worker-1' pid:500 exited with 'signal 11 (SIGSEGV)'", "")
    (group,) = groups(
        celery(START), lost + "WorkerLostError('Worker exited prematurely: signal 11 (SIGSEGV) Job: 3.')"
    )
    assert (group.count, len(group.reports)) == (1, 1)


def test_the_traceback_below_a_report_is_no_other_death() -> None:
    lost = "WorkerLostError: Worker exited prematurely: signal 11 (SIGSEGV)."
    lines: list[str] = []
    for hour in range(3):  # as celery writes: who died, which task that was, and its traceback
        at = START + hour * 3600
        task = celery(at + 3).replace("Process 'Worker-1' pid:500 exited with 'signal 11 (SIGSEGV)'", "")
        lines += [
            segfault(at),
            celery(at + 3, pid=501 + hour),
            f"{task}Task a.b[c] raised unexpected: {lost}",
        ]
        lines += ["Traceback (most recent call last):", '  File "billiard/pool.py", line 1171, in x', lost]
    (group,) = groups(*lines)
    assert (group.count, len(group.reports)) == (3, 9)


def test_lines_pasted_without_their_time_are_told_of_each_other() -> None:
    undated = segfault().partition("] ")[2]
    (group,) = groups(celery(START).partition("] ")[2], f"kernel: {undated}")
    assert (group.library, group.count, len(group.reports)) == ("libx.so", 1, 1)


def test_out_of_memory_kills_name_the_process_the_service_names() -> None:
    (group,) = groups(
        kernel(
            "Memory cgroup out of memory: Killed process 500 (app) total-vm:9kB, anon-rss:8192kB, "
            "file-rss:0kB"
        ),
        celery(START + 3, pid=500, signal=9),
    )
    assert (group.kind, group.program, len(group.reports)) == ("oom", "app", 1)


def test_a_torn_line_gets_its_rest_back() -> None:
    near = segfault(START, tid=8, ip=0x7F0000009010, tail=" in liby.so[7f0000009000+1000]")
    found = groups(segfault(START, tid=7, tail=""), near, kernel(MAP))
    assert sorted(str(group.library) for group in found) == ["libx.so", "liby.so"]


def test_a_line_without_mapping_is_placed_by_another_of_the_same_program() -> None:
    (group,) = groups(segfault(tid=7, tail=""), segfault(tid=8, tail=" in libx.so[21010,7f0000001000+2000]"))
    assert (group.library, group.offset, group.count) == ("libx.so", 0x21010, 2)
    assert len(groups(segfault(name="other", tail=""), segfault())) == 2


def test_time_stamps_of_the_kernels_clock_alone_still_show_a_rhythm() -> None:
    lines = [f"[{600 * beat:5}.000000] " + segfault(tid=beat).partition("] ")[2] for beat in range(1, 6)]
    (group,) = groups(*lines)
    assert (group.first, group.period) == (None, "every 10 min")


def test_the_kernels_clocks_of_several_boots_make_no_rhythm() -> None:
    def crash(at: float, tid: int) -> str:
        return f"[{at:12.6f}] app[{tid}]: segfault at 8 ip 7f0000001010 sp 7f24d3ffdc20 error 4{MAP}"

    boots = [crash(100, 5), crash(7300, 6), crash(3700, 7)]
    assert groups(*boots)[0].period is None
    assert groups(*sorted(boots))[0].period == "every 1 hour"
    logs = [
        event for number, line in enumerate(sorted(boots)) for event in read(line, name=f"dmesg.{number}")
    ]
    assert group(logs)[0].period is None


def test_ten_thousand_deaths_are_joined_in_no_time() -> None:
    lines = []
    for number in range(10_000):
        lines += [segfault(START + number, tid=number), celery(START + number, pid=number + 20_000)]
    assert sum(group.count for group in groups(*lines)) >= 10_000


def test_an_old_kernel_that_killed_a_child_instead_names_who_died() -> None:
    chosen = kernel("Out of memory: Kill process 500 (apache2) score 900 or sacrifice child")
    (group,) = groups(chosen, kernel("Killed process 501 (python) total-vm:9kB, anon-rss:8kB, file-rss:0kB"))
    assert (group.program, group.sample.pid, group.count) == ("python", 501, 1)
    assert group.sample.detail("chosen") == "apache2"
    (group,) = groups(chosen, kernel("Killed process 500 (apache2) total-vm:9kB, anon-rss:8kB, file-rss:0kB"))
    assert (group.program, group.sample.detail("chosen")) == ("apache2", None)


def test_a_storm_of_deaths_in_one_moment_takes_no_quadratic_time() -> None:
    lines = []
    for number in range(4000):
        lines += [
            segfault(START + number / 1000, tid=number),
            celery(START + number / 1000, pid=number + 9000),
        ]
    events = read(*lines)
    begin = time.process_time()
    (one,) = group(events)
    assert (one.count, len(one.reports)) == (4000, 4000)
    assert time.process_time() - begin < 10
