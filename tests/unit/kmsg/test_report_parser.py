# SPDX-License-Identifier: Apache-2.0
"""Reports from lines: which lines belong together, when a report is complete, and names that imitate the kernel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.log_kills import kills

from ooMtrace.kmsg.formats import LogLine
from ooMtrace.kmsg.line_readers import EXTEND, IGNORE, Start, read_line
from ooMtrace.kmsg.open_report import (
    CLOCKS_APART_NS,
    MAX_FOREIGN_LINES,
    MAX_GAP_BEFORE_KILL_NS,
    MAX_GAP_IN_GROUP_NS,
    MAX_GAP_IN_REPORT_NS,
    MAX_GAP_NS,
    MAX_IDLE_LINES,
    MAX_IDLE_LINES_AFTER_KILL,
    MAX_READ_DELAY_NS,
)
from ooMtrace.kmsg.report import Killed, Report
from ooMtrace.kmsg.report_parser import MAX_OPEN_REPORTS, ReportParser
from ooMtrace.kmsg.to_record import Origin
from ooMtrace.kmsg.unconfirmed import MAX_UNCONFIRMED
from ooMtrace.record import Cgroup, OomKill, Trigger

ORIGIN = Origin("2026-11-24T04:00:00.000000Z")
LATEST = datetime(2026, 11, 24, 4, tzinfo=timezone.utc)
KILL = "total-vm:4kB, anon-rss:3kB, file-rss:2kB, shmem-rss:1kB, UID:0 pgtables:20kB oom_score_adj:0"
HEADER = "a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"
GROUP = "Tasks in /g are going to be killed due to memory.oom.group set"
T0 = 10_000_000_000_000


def killed(pid: int) -> str:
    return f"Memory cgroup out of memory: Killed process {pid} (a) {KILL}"


def read(*blocks: bytes) -> list[OomKill]:
    return list(kills(blocks, ORIGIN, LATEST))


def parse(lines: Iterable[LogLine]) -> list[Report]:
    parser = ReportParser()
    return [report for line in lines for report in parser.feed(line)] + list(parser.drain())


def pids(reports: Iterable[Report]) -> list[list[int]]:
    return [[victim.pid for victim in report.kills] for report in reports]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=15))
def test_no_name_can_forge_a_kill(name):
    comm = name.replace(b"\0", b"").decode("utf-8", "backslashreplace")
    lines = [
        f"{comm} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        f"CPU: 0 PID: 9 Comm: {comm} Not tainted 6.1.0 #1",
        "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
        f"[      9]     0     9        1        1     4096        0             0 {comm}",
        f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,"
        f"task={comm},pid=9,uid=0",
        f"Memory cgroup out of memory: Killed process 9 ({comm}) {KILL}",
        f"oom_reaper: reaped process 9 ({comm}), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
    ]
    reports = parse(LogLine(line, number=i) for i, line in enumerate(lines))

    assert [(victim.pid, victim.comm, victim.size["total_vm"]) for report in reports for victim in report.kills] == [
        (9, comm, 4)
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"x: Killed process 1 (a) {KILL}",
        f"audit: Out of memory: Killed process 1 (a) {KILL}",
        f"Killed process 1 (a) {KILL} and more",
        f"Killed process 1 (a) {KILL} and more"[:-9] + "anon-rss:4",
        f"Memory cgroup out of memory: Killed process 1 (a {KILL}",
        "oom_reaper: reaped process 1 (a), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
        "OOM killer enabled.",
        "Out of memory and no killable processes...",
        "Memory cgroup out of memory: OOM victim 1 (a) is already exiting. Skip killing the task",
    ],
)
def test_other_lines_are_no_kills(text):
    assert read(f"[    1.000000] {text}\n".encode()) == []


@pytest.mark.parametrize(
    "comm", ["Killed process ", "Kill process 1", "oom-kill:", "Task in /a", "Tasks in /", "[  1] 1", "memory: usage"]
)
def test_a_name_that_imitates_the_kernel_does_not_change_its_report(comm):
    log = (
        f"{comm} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n"
        f"CPU: 0 PID: 9 Comm: {comm} Not tainted 6.1.0 #1\n"
        "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name\n"
        f"[      9]     0     9        1        1     4096        0             0 {comm}\n"
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,"
        f"task={comm},pid=9,uid=0\n"
        f"Memory cgroup out of memory: Killed process 9 ({comm}) {KILL}\n"
    )
    [kill] = read("".join(f"[    1.000000] {line}\n" for line in log.splitlines()).encode())

    assert kill.process.comm == comm
    assert kill.oom.trigger == Trigger(pid=9, tid=9, comm=comm)
    assert kill.cgroup == Cgroup(path="/a/b")
    assert kill.oom.points
    assert kill.oom.points.total == 2


def test_a_cgroups_name_is_no_header():
    evil = "/a invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0"
    log = (
        "real invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0\n"
        f"Task in {evil} killed as a result of limit of {evil}\n"
        f"Memory cgroup stats for {evil}: cache:0KB\n"
        "Memory cgroup out of memory: Kill process 9 (x) score 1 or sacrifice child\n"
        "Killed process 9 (x) total-vm:4kB, anon-rss:3kB, file-rss:2kB\n"
    )
    [kill] = read("".join(f"[    1.000000] {line}\n" for line in log.splitlines()).encode())

    assert kill.oom.trigger == Trigger(comm="real")
    assert kill.cgroup == Cgroup(path=evil)


def test_the_parts_of_an_interrupted_line_are_joined():
    log = (
        "[    1.000000] oom-kill:constraint=CONSTRAINT_CPUSET,nodemask=(null)\n"
        "[    1.000001] usb 1-1: new device\n"
        "[    1.000002] ,cpuset=/,mems_allowed=0\n"
        "[    1.000003] ,global_oom,task_memcg=/x,task=a,pid=9,uid=4\n"
        f"[    1.000004] Out of memory: Killed process 9 (a) {KILL}\n"
    )
    [kill] = read(log.encode())

    assert (kill.oom.scope, kill.process.pid) == ("cpuset", 9)
    assert kill.cgroup
    assert kill.cgroup.path == "/x"


def test_groups_and_single_kills_without_headers_are_separated():
    group = "Tasks in /g are going to be killed due to memory.oom.group set"
    log = [
        (1.0, f"Memory cgroup out of memory: Killed process 1 (a) {KILL}"),
        (1.1, group),
        (1.2, f"Memory cgroup out of memory: Killed process 1 (a) {KILL}"),
        (1.3, f"Memory cgroup out of memory: Killed process 2 (b) {KILL}"),
        (1.4, f"Memory cgroup out of memory: Killed process 3 (c) {KILL}"),  # the first of the next group
        (1.5, group.replace("/g", "/h")),
        (1.6, f"Memory cgroup out of memory: Killed process 4 (d) {KILL}"),
        (9.0, f"Memory cgroup out of memory: Killed process 5 (e) {KILL}"),  # much later: somebody else
    ]
    found = read("".join(f"[{at:12.6f}] {text}\n" for at, text in log).encode())

    assert [(kill.process.tid, kill.oom.verdict, kill.oom.group and kill.oom.group.path) for kill in found] == [
        (1, "killed", "/g"),
        (2, "group_member", "/g"),
        (3, "killed", "/h"),
        (4, "group_member", "/h"),
        (5, "killed", None),
    ]


@pytest.mark.parametrize(
    ("text", "alone", "before_kill", "after_kill"),
    [
        (HEADER, Start, Start, Start),
        ("oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null)", Start, EXTEND, EXTEND),
        ("Task in /a killed as a result of limit of /b", Start, EXTEND, Start),
        ("[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name", Start, EXTEND, Start),
        ("Out of memory: Kill process 9 (a) score 1 or sacrifice child", Start, EXTEND, Start),
        (killed(9), Start, EXTEND, Start),
        ("Kill process 9 (a) sharing same memory", Start, EXTEND, EXTEND),
        (GROUP, Start, Start, EXTEND),
        ("Out of memory and no killable processes...", IGNORE, EXTEND, Start),
        ("memory: usage 4kB, limit 4kB, failcnt 1", Start, EXTEND, Start),
        ("memory: usage unknown", IGNORE, IGNORE, IGNORE),
        ("Mem-Info:", IGNORE, EXTEND, Start),
        ("Total swap = 0kB", IGNORE, EXTEND, IGNORE),
        ("[      9]     0     9        1        1     4096        0             0 a", IGNORE, IGNORE, IGNORE),
        ("eth0: link up", IGNORE, IGNORE, IGNORE),
    ],
)
def test_a_line_starts_or_extends_a_report_or_is_ignored(text, alone, before_kill, after_kill):
    def result(report: Report | None) -> object:
        found = read_line(LogLine(text), report)
        return type(found) if isinstance(found, Start) else found

    with_kill = Report(LogLine(""), kills=[Killed(LogLine(""), 1, "b", None, {}, None, None)])

    assert result(None) == alone
    assert result(Report(LogLine(""))) == before_kill
    assert result(with_kill) == after_kill


@pytest.mark.parametrize(
    ("first", "limit"), [([HEADER], MAX_IDLE_LINES), ([HEADER, killed(1), GROUP], MAX_IDLE_LINES_AFTER_KILL)]
)
def test_a_report_is_complete_after_so_many_other_lines(first, limit):
    def reports(noise: int) -> list[Report]:
        lines = [LogLine(text) for text in (*first, *["eth0: link up"] * noise, killed(2))]
        return [report for report in parse(lines) if any(victim.pid == 2 for victim in report.kills)]

    (kept,), (expired,) = reports(limit - 1), reports(limit)

    assert kept.trigger.header is not None
    assert expired.trigger.header is None


@pytest.mark.parametrize(
    ("first", "last", "max_gap"),
    [
        ([HEADER], killed(2), MAX_GAP_BEFORE_KILL_NS),
        ([HEADER, killed(1), GROUP], killed(2), MAX_GAP_IN_GROUP_NS),
        ([HEADER, killed(1)], "Kill process 2 (a) sharing same memory", MAX_GAP_NS),
    ],
)
def test_a_report_is_complete_after_so_much_time_on_the_kernels_clock(first, last, max_gap):
    def is_one_report(gap: int) -> bool:
        lines = [*(LogLine(text, ktime=T0) for text in first), LogLine(last, ktime=T0 + gap)]
        (*_, report) = parse(lines)
        return report.trigger.header is not None

    assert is_one_report(max_gap)
    assert not is_one_report(max_gap + 1)
    assert is_one_report(-CLOCKS_APART_NS)
    assert not is_one_report(-CLOCKS_APART_NS - 1)


def test_other_lines_keep_a_report_open_before_its_kill_but_not_after():
    step = MAX_GAP_IN_REPORT_NS // 2

    def lines(*texts: str) -> list[LogLine]:
        return [LogLine(text, ktime=T0 + i * step) for i, text in enumerate(texts)]

    (slow,) = parse(lines(HEADER, "eth0: link up", killed(1)))
    assert slow.trigger.header is not None
    (late,) = parse(lines(HEADER, "eth0: link up", "eth0: link up", killed(1)))
    assert late.trigger.header is None
    assert pids(parse(lines(HEADER, killed(1), *["eth0: link up"] * 30, GROUP, killed(2)))) == [[1], [2]]


def test_the_gap_after_a_kill_begins_at_the_last_line_of_the_report():
    step = MAX_GAP_NS - 1
    texts = (killed(1), *(f"Kill process {pid} (a) sharing same memory" for pid in (2, 3, 4)))

    assert pids(parse(LogLine(text, ktime=T0 + i * step) for i, text in enumerate(texts))) == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    "text",
    [
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,"
        "task=a,pid=9,uid=0",
        "Task in /a/b killed as a result of limit of /a",
        "memory: usage 4kB, limit 4kB, failcnt 1",
        "Mem-Info:",
        "[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name",
    ],
)
def test_lines_of_two_reports_are_interleaved_if_one_occurs_twice(text):
    def is_interleaved(*lines: str) -> bool:
        (report,) = parse(map(LogLine, (HEADER, *lines, killed(9))))
        return report.interleaved

    assert is_interleaved(text, text)
    assert not is_interleaved(text)


def test_a_kill_after_two_headers_may_belong_to_either():
    (report,) = parse(map(LogLine, (HEADER, HEADER, killed(9))))

    assert report.trigger.header is None


def test_at_most_so_many_reports_are_open_and_the_oldest_is_closed_first():
    parser = ReportParser()
    lines = [LogLine(killed(pid), caller=f"T{pid}") for pid in range(1, MAX_OPEN_REPORTS + 3)]
    closed = [report for line in lines for report in parser.feed(line)]

    assert pids(closed) == [[1], [2]]
    assert len(list(parser.open_reports())) == MAX_OPEN_REPORTS


def test_only_reports_with_kills_up_to_an_ordinal_are_closed():
    parser = ReportParser()
    for caller, text in (("T1", killed(1)), ("T2", killed(2)), ("T3", HEADER), ("T1", GROUP), ("T1", killed(1))):
        assert list(parser.feed(LogLine(text, caller=caller))) == []

    assert parser.kill_count == 3
    assert pids(parser.close_completed(1)) == []
    assert pids(parser.close_completed(2)) == [[2]], "the repeat kill is the third"
    assert pids(parser.close_completed(3)) == [[1]]
    assert not parser.idle
    assert [report.trigger.header is not None for report in parser.open_reports()] == [True]
    assert pids(parser.drain()) == []
    assert parser.idle


@pytest.mark.parametrize(("repeat", "ordinals"), [([], []), ([killed(1)], [2])])
def test_a_group_whose_first_kill_is_lost_takes_no_kill_of_the_group_before(repeat, ordinals):
    """Otherwise the repeat kill would remain in a report without kills, which the parser drops."""
    reports = parse(map(LogLine, (killed(1), GROUP, *repeat, GROUP.replace("/g", "/h"), killed(2))))

    assert pids(reports) == [[1], [2]]
    assert [report.group for report in reports] == ["/g", "/h"]
    assert [report.repeat_kills for report in reports] == [ordinals, []]


def test_a_member_that_was_killed_before_a_repeat_kill_stays_in_its_group():
    reports = parse(map(LogLine, (killed(1), GROUP, killed(2), killed(1), GROUP.replace("/g", "/h"), killed(3))))

    assert pids(reports) == [[1, 2], [3]]
    assert [report.repeat_kills for report in reports] == [[3], []]


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        (LogLine("", host="a"), LogLine("", host="a"), True),
        (LogLine("", host="a"), LogLine("", host="b"), False),
        (LogLine("", boot_id="a"), LogLine("", boot_id="b"), False),
        (LogLine("", caller="T1"), LogLine("", caller="T2"), False),
        (LogLine("", ktime=T0), LogLine("", wall=T0), False),
        (LogLine("", wall=T0), LogLine(""), True),
        (LogLine("", wall=T0), LogLine("", wall=T0 + MAX_GAP_BEFORE_KILL_NS), True),
        (LogLine("", wall=T0), LogLine("", wall=T0 + MAX_GAP_BEFORE_KILL_NS + 1), False),
        (LogLine("", ktime=T0, wall=T0), LogLine("", ktime=T0, wall=T0 + MAX_READ_DELAY_NS), True),
        (LogLine("", ktime=T0, wall=T0), LogLine("", ktime=T0, wall=T0 + MAX_READ_DELAY_NS + 1), False),
    ],
)
def test_a_header_joins_only_a_kill_of_its_own_log_and_time(first, second, is_one):
    (report,) = parse([replace(first, text=HEADER), replace(second, text=killed(1))])

    assert (report.trigger.header is not None) == is_one


def test_lines_of_other_hosts_do_not_keep_a_report_forever():
    lines = [LogLine("eth0: link up", host="b")] * (MAX_FOREIGN_LINES + 1)
    parser = ReportParser()
    for line in (LogLine(HEADER, host="a"), *lines):
        assert list(parser.feed(line)) == []

    assert parser.idle


@pytest.mark.parametrize("lines", [MAX_IDLE_LINES_AFTER_KILL, MAX_IDLE_LINES_AFTER_KILL + 1])
def test_a_choice_is_kept_for_so_many_lines_until_its_kill_follows(lines):
    parser = ReportParser()
    choice = "Memory cgroup out of memory: Kill process 9 (a) score 1 or sacrifice child"
    texts = (choice, HEADER, *["eth0: link up"] * (lines - 1), killed(9))
    found = [report for text in texts for report in parser.feed(LogLine(text))] + list(parser.drain())

    assert len(found) == 1 + (lines > MAX_IDLE_LINES_AFTER_KILL)


def test_at_most_so_many_choices_are_kept():
    choice = "Memory cgroup out of memory: Kill process {} (a) score 1 or sacrifice child"
    parser = ReportParser()
    texts = [choice.format(pid) for pid in range(1, MAX_UNCONFIRMED + 3)]

    assert pids(report for text in texts for report in parser.feed(LogLine(text))) == [[1]]
    assert len(list(parser.drain())) == MAX_UNCONFIRMED + 1
