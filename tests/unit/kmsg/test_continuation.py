# SPDX-License-Identifier: Apache-2.0
"""Which line is the rest of the one before: a newline in a user's text must neither hide a kill nor forge one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ooMtrace.kmsg.continuation import continues, is_fine
from ooMtrace.kmsg.formats import LogLine

KTIME = 12_000_345_678
KILL = "Memory cgroup out of memory: Killed process 9 (a) total-vm:40kB, anon-rss:20kB, file-rss:0kB, shmem-rss:0kB"
CUT = "Memory cgroup out of memory: Killed process 9 (a"
REST = "b) total-vm:40kB, anon-rss:20kB, file-rss:0kB, shmem-rss:0kB"
SUMMARY = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,oom_memcg=/a,task_memcg=/a,task=a"
HEADER = "b invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"
OPTION = "overlayfs: unrecognized mount option a"


def line(text: str, **more: object) -> LogLine:
    return replace(LogLine(text, ktime=KTIME, wall=5, caller="T9", host="web"), **more)  # type: ignore[arg-type]


def is_rest(first: str, second: str, *, fine: bool = True, **more: object) -> bool:
    return continues(line(first), line(second, **more), fine=fine)


def test_a_kill_that_ends_within_the_name_continues_in_the_next_line():
    assert is_rest(CUT, REST)
    assert is_rest("Out of memory: Kill process 9 (a", "b) score 1 or sacrifice child")
    assert not is_rest(KILL, REST)


@pytest.mark.parametrize("more", [{"ktime": KTIME + 1000}, {"host": "db"}, {"caller": "T8"}])
def test_lines_of_one_record_have_one_stamp_host_and_caller(more):
    assert not is_rest(CUT, REST, **more)


def test_syslogs_own_time_counts_only_where_the_kernels_is_unknown():
    assert is_rest(CUT, REST, wall=6)
    assert continues(line(CUT, ktime=None), line(REST, ktime=None), fine=False)
    assert not continues(line(CUT, ktime=None), line(REST, ktime=None, wall=6), fine=False)


@pytest.mark.parametrize(
    ("summary", "cut"),
    [
        (SUMMARY, True),
        (SUMMARY + "\\xff" * 14, True),
        (SUMMARY + "\\xff" * 15, False),
        (f"{SUMMARY},pid=9,uid=0", False),
        ("oom-kill:constraint=CONSTRAINT_MEMCG", False),
        ("oom-kill:", False),
    ],
)
def test_a_summary_that_ends_within_the_name_of_the_task_is_cut(summary, cut):
    assert is_rest(summary, "b,pid=9,uid=0") is cut


def test_a_header_continues_the_beginning_of_the_triggers_name():
    assert is_rest("a", HEADER, fine=False)
    assert not is_rest("this is longer than any name", HEADER)
    assert not is_rest("a", HEADER, ktime=None)
    assert not continues(line("a", ktime=None), line(HEADER, ktime=None), fine=True)


@pytest.mark.parametrize(
    "forged", [KILL, f"{SUMMARY},pid=9,uid=0", "Tasks in /a are", "Task in /a killed", "[  9] 0 9 1"]
)
def test_what_a_user_may_have_written_after_a_newline_is_no_line_of_a_report(forged):
    assert is_rest(OPTION, forged)
    assert not is_rest(OPTION, forged, fine=False), "two records may have the same stamp"
    assert not continues(line(OPTION, ktime=None), line(forged, ktime=None), fine=True)


def test_an_ordinary_line_with_the_same_stamp_is_a_record_of_its_own():
    assert not is_rest(OPTION, "audit: type=1400")


@pytest.mark.parametrize(
    "before",
    ["Mem-Info:", "oom_reaper: reaped process 9", "Tasks state (memory values in pages):", "[  8] 0 8 1", KILL],
)
def test_what_follows_a_line_of_a_report_is_not_joined_to_it(before):
    assert not is_rest(before, KILL)


@pytest.mark.parametrize(
    ("ktime", "fine"), [(KTIME, True), (12_345_000_000, False), (12_345_001_000, True), (None, False)]
)
def test_a_clock_is_fine_where_it_shows_microseconds(ktime, fine):
    assert is_fine(line("a", ktime=ktime)) is fine
