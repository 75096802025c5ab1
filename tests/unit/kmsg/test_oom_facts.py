# SPDX-License-Identifier: Apache-2.0
"""What the log states of nodes and score, and numbers that cannot be true."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from support.log_kills import kills

from ooMtrace.kmsg import grammar, task_table
from ooMtrace.kmsg.formats import LogLine
from ooMtrace.kmsg.report_parser import MAX_OPEN_LINES, ReportParser
from ooMtrace.kmsg.to_record import Origin, with_seq
from ooMtrace.output.encode import plain

LATEST = datetime(2026, 11, 24, 4, tzinfo=timezone.utc)
HEADER = "hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), nodemask=0-1,4, order=0, oom_score_adj=0"
CPUSET = "hog cpuset=a b mems_allowed=0-1"
COLUMNS = "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name"
SIZES = "total-vm:40kB, anon-rss:20kB, file-rss:0kB, shmem-rss:0kB"
CHOICE = "Out of memory: Kill process 9 (a) score {score} or sacrifice child"
KILLED = f"Killed process {{pid}} (a) {SIZES}"


def read(*texts: str) -> dict[str, Any]:
    log = "".join(f"[    1.{at:06}] {text}\n" for at, text in enumerate(texts))
    [kill] = kills([log.encode()], Origin("2026-11-24T04:00:00.000000Z"), LATEST)
    return dict(plain(with_seq(kill, 1)))


def summary(nodes: str, names: str = "global_oom,task_memcg=/a,task=a,pid=9,uid=0") -> str:
    return f"oom-kill:constraint=CONSTRAINT_NONE,{nodes},{names}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (summary("nodemask=(null),cpuset=/,mems_allowed=0"), (None, "/", "0")),
        (summary("nodemask=1,cpuset=a b,mems_allowed=0-1,4"), ("1", "a b", "0-1,4")),
        (summary("nodemask=0,3,cpuset=x=y,mems_allowed="), ("0,3", "x=y", None)),
        (summary("nodemask=(null)"), (None, None, None)),  # CONFIG_CPUSETS=n
        (summary("nodemask=,cpuset=,mems_allowed=0"), (None, None, "0")),
        # the cpuset's name, or the cgroup's, imitates the kernel
        (summary("nodemask=(null),cpuset=a,mems_allowed=9,cpuset=b,mems_allowed=0"), (None, None, None)),
        (
            summary(
                "nodemask=(null),cpuset=/,mems_allowed=0", "global_oom,task_memcg=/,mems_allowed=7,task=a,pid=9,uid=0"
            ),
            (None, None, None),
        ),
    ],
)
def test_the_nodes_are_those_in_the_summary_or_the_header(text, expected):
    oom = read(text, f"Out of memory: {KILLED.format(pid=9)}")["oom"]
    assert (oom.get("nodemask"), oom.get("cpuset"), oom.get("mems_allowed")) == expected

    old = read(HEADER, CPUSET, CHOICE.format(score=5), KILLED.format(pid=9))["oom"]
    assert (old["nodemask"], old["cpuset"], old["mems_allowed"]) == ("0-1,4", "a b", "0-1")


@pytest.mark.parametrize(
    ("score", "expected"), [(0, 0), (987, 987), (2000, 2000), (2001, None), (-1, None), (10**19, None)]
)
def test_the_score_is_that_of_the_victim(score, expected):
    assert read(CHOICE.format(score=score), KILLED.format(pid=9))["oom"].get("score") == expected
    assert read(CHOICE.format(score=score))["oom"].get("score") == expected  # the log ends with the choice
    assert "score" not in read(CHOICE.format(score=score), KILLED.format(pid=10))["oom"]  # a child of it


def test_the_allocating_task_has_no_score():
    choice = CHOICE.format(score=0).replace("Out of memory", "Out of memory (oom_kill_allocating_task)")

    assert "score" not in read(choice, KILLED.format(pid=9))["oom"]


@pytest.mark.parametrize("pid", [0, (1 << 22) + 1, 9999999999])
def test_an_impossible_pid_is_absent(pid):
    line = read(f"Out of memory: {KILLED.format(pid=pid)}")

    assert "tid" not in line["process"]
    assert {"process.pid", "process.tid"} <= set(line["missing"])


@pytest.mark.parametrize(
    ("uid", "known"), [(0, True), ((1 << 32) - 2, True), ((1 << 32) - 1, False), (9999999999, False)]
)
def test_an_impossible_user_is_absent(uid, known):
    line = read(f"Out of memory: {KILLED.format(pid=9)}, UID:{uid} pgtables:4kB oom_score_adj:0")

    assert line["process"].get("user") == ({"id": uid} if known else None)


@pytest.mark.parametrize(("order", "known"), [(-1, True), (9, True), (31, True), (32, False), (-2, False)])
def test_an_impossible_order_is_absent(order, known):
    line = read(HEADER.replace("order=0", f"order={order}"), f"Out of memory: {KILLED.format(pid=9)}")

    assert line["oom"].get("order") == (order if known else None)


@pytest.mark.parametrize(
    "text",
    [
        "Out of memory: " + KILLED.format(pid="\u0664\u0662"),
        CHOICE.format(score="\u0663"),
        summary("nodemask=(null),cpuset=/,mems_allowed=0").replace("pid=9", "pid=\u0669"),
    ],
)
def test_digits_of_other_scripts_are_no_numbers(text):
    assert grammar.parse_kill(text) is None
    assert grammar.CHOSEN.match(text) is None
    assert grammar.parse_summary(text) is None


def test_rows_of_digits_of_other_scripts_are_none():
    table = task_table.parse_columns(COLUMNS)

    assert table
    assert not table.add("[      \u0669]     0     9        1        1     4096        0             0 a")
    assert not table.rows


def test_a_row_that_is_too_long_or_has_an_impossible_pid_makes_the_table_incomplete():
    for text in (
        "[      0]     0     9        1        1     4096        0             0 a",
        "[      9]     0     9        1        1     4096        0             0 " + "a" * 9000,
    ):
        table = task_table.parse_columns(COLUMNS)
        assert table
        assert table.add(text)
        assert not table.rows
        assert table.all_rows() is None


def test_the_rows_that_are_kept_at_once_are_bounded_over_all_reports():
    parser = ReportParser()
    row = "[{:7}]     0     9        1        1     4096        0             0 a"
    callers = [f"T{number}" for number in range(1, 5)]
    for caller in callers:
        assert list(parser.feed(LogLine(COLUMNS, ktime=1, caller=caller))) == []
    most = 0
    for pid in range(1, MAX_OPEN_LINES // 4 + 2000):
        for caller in callers:
            assert list(parser.feed(LogLine(row.format(pid), ktime=1, caller=caller))) == []
        most = max(most, sum(report.size for report in parser.open_reports()))

    assert MAX_OPEN_LINES - 10 <= most <= MAX_OPEN_LINES + 10
    assert len(list(parser.open_reports())) == 3, "the oldest was closed"


def test_the_rows_of_one_report_are_bounded():
    table = task_table.parse_columns(COLUMNS)
    assert table
    for pid in range(1, task_table.MAX_ROWS + 10):
        assert table.add(f"[{pid:7}]     0     9        1        1     4096        0             0 a")

    assert len(table.rows) == task_table.MAX_ROWS
    assert table.all_rows() is None
