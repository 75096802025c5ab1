# SPDX-License-Identifier: Apache-2.0
"""The processes that the kernel weighed, read from its table."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from support.log_kills import kills

from ooMtrace.kmsg.to_record import Origin
from ooMtrace.output.encode import plain

LATEST = datetime(2026, 11, 24, 4, tzinfo=timezone.utc)
COLUMNS = "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name"
CHOSEN = "[      9]     0     9       10        5     4096        1             0 a"
SUMMARY = (
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a,"
    "task=a,pid=9,uid=0"
)
KILL = (
    "Memory cgroup out of memory: Killed process {pid} (a) total-vm:40kB, anon-rss:20kB, file-rss:0kB, shmem-rss:0kB,"
    " UID:0 pgtables:4kB oom_score_adj:0"
)


def read(*rows: str, columns: str = COLUMNS, pid: int = 9, limit: int = 40000) -> dict[str, Any]:
    """Return `oom` of the only kill in a log."""
    usage = (f"memory: usage 4000kB, limit {limit}kB, failcnt 1", "swap: usage 0kB, limit 0kB, failcnt 0")
    texts = (*usage, columns, *rows, SUMMARY, KILL.format(pid=pid))
    log = "".join(f"[    1.{at:06}] {text}\n" for at, text in enumerate(texts))
    [kill] = kills([log.encode()], Origin("2026-11-24T04:00:00.000000Z"), LATEST)
    return {**plain(kill.oom), "derived": kill.derived}


def row(pid: int, rss: int, adj: int = 0, name: str = "b") -> str:
    return f"[{pid:7}]     0 {pid:5}     1000 {rss:8}     8192        0 {adj:13} {name}"


def test_the_chosen_process_is_first_then_those_with_the_most_points():
    found = read(row(7, 3), CHOSEN, row(8, 90, name="b c"))

    assert found["weighed"] == 3
    assert found["candidates"] == [
        {"pid": 9, "comm": "a", "points": 7, "oom_score_adj": 0, "memory": 7 * 4096},
        {"pid": 8, "comm": "b c", "points": 92, "oom_score_adj": 0, "memory": 92 * 4096},
        {"pid": 7, "comm": "b", "points": 5, "oom_score_adj": 0, "memory": 5 * 4096},
    ]
    assert {"oom.weighed", "oom.candidates"} <= set(found["derived"])


def test_the_adjustment_is_part_of_the_points_but_not_of_the_memory():
    _, other = read(CHOSEN, row(8, 3, 100))["candidates"]

    assert (other["points"], other["memory"]) == (5 + 100 * 10, 5 * 4096)


def test_a_process_that_cannot_be_killed_is_not_weighed():
    found = read(CHOSEN, row(1, 9000, -1000))

    assert (found["weighed"], [each["pid"] for each in found["candidates"]]) == (1, [9])


def test_of_many_the_ten_with_the_most_points_are_reported():
    found = read(CHOSEN, *(row(pid, pid) for pid in range(100, 130)))

    assert found["weighed"] == 31
    assert [each["pid"] for each in found["candidates"]] == [9, *range(129, 120, -1)]


def test_of_equal_points_the_last_one_is_first():
    found = read(row(7, 3), row(8, 3), CHOSEN)

    assert [each["pid"] for each in found["candidates"]] == [9, 8, 7]


def test_there_is_no_ranking_if_the_points_of_any_are_unknown():
    found = read(CHOSEN, row(8, 3, 100), limit=9007199254740988)

    assert (found["weighed"], found.get("candidates")) == (2, None)


def test_a_damaged_table_and_one_of_an_old_kernel_are_not_used():
    old = "[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name"

    for found in (read(CHOSEN, row(8, 3)[:50]), read(CHOSEN, row(8, 3), columns=old)):
        assert found.keys().isdisjoint({"weighed", "candidates"})


def after_a_table(*texts: str) -> list[dict[str, Any]]:
    """Return `oom` of each kill in a log whose report has a table of two processes."""
    lines = (COLUMNS, CHOSEN, row(8, 3), *texts)
    log = "".join(f"[    1.{at:06}] {text}\n" for at, text in enumerate(lines))
    return [plain(kill.oom) for kill in kills([log.encode()], Origin("2026-11-24T04:00:00.000000Z"), LATEST)]


def weighed(*texts: str) -> list[int | None]:
    return [found.get("weighed") for found in after_a_table(*texts)]


def test_only_the_process_that_was_chosen_has_candidates():
    group = "Tasks in /a are going to be killed due to memory.oom.group set"
    sharer = "Killed process 8 (b) sharing same memory"

    assert weighed(SUMMARY, KILL.format(pid=9), group, KILL.format(pid=8)) == [2, None]
    assert weighed(SUMMARY, KILL.format(pid=9), sharer)[0] == 2


def test_a_kill_that_nothing_has_chosen_has_none():
    """Without a summary the log does not say whether the kernel compared the processes."""
    assert weighed(KILL.format(pid=9)) == [None]


def test_the_task_that_allocates_has_none():
    summary = SUMMARY.replace("CONSTRAINT_MEMCG", "CONSTRAINT_NONE").replace("oom_memcg=/a", "global_oom")
    kill = KILL.format(pid=9).replace("Memory cgroup out of memory", "Out of memory")

    assert weighed(summary, kill) == [2]
    assert weighed(summary, kill.replace("Out of memory", "Out of memory (oom_kill_allocating_task)")) == [None]


def test_a_thread_of_the_chosen_process_has_those_of_its_process():
    thread = "[     12]     0     9       10        5     4096        1             0 a"
    usage = ("memory: usage 4000kB, limit 40000kB, failcnt 1", "swap: usage 0kB, limit 0kB, failcnt 0")
    texts = (*usage, COLUMNS, thread, row(8, 3), SUMMARY, KILL.format(pid=12))
    log = "".join(f"[    1.{at:06}] {text}\n" for at, text in enumerate(texts))
    [kill] = kills([log.encode()], Origin("2026-11-24T04:00:00.000000Z"), LATEST)

    assert kill.oom.candidates is not None
    assert [each.pid for each in kill.oom.candidates] == [9, 8]


def test_processes_without_points_are_weighed_and_not_listed():
    found = read(CHOSEN, row(8, 0, -500))

    assert (found["weighed"], [each["pid"] for each in found["candidates"]]) == (2, [9])
