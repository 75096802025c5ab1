# SPDX-License-Identifier: Apache-2.0
"""The formats of logs: the kernel's text, its time and its caller."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from support.log_kills import kills

from ooMtrace.kmsg.detect import AnyFormat
from ooMtrace.kmsg.formats import Dated, LogLine, dmesg, kmsg
from ooMtrace.kmsg.to_record import Origin

ORIGIN = Origin("2026-11-24T04:00:00.000000Z")
LATEST = datetime(2026, 11, 24, 4, tzinfo=timezone.utc)
KILL = "total-vm:4kB, anon-rss:3kB, file-rss:2kB, shmem-rss:1kB, UID:0 pgtables:20kB oom_score_adj:0"


@pytest.mark.parametrize(
    ("stamp", "latest", "expected"),
    [
        ("Nov 24 01:02:03", datetime(2026, 11, 24, 4, tzinfo=timezone.utc), "2026-11-24T01:02:03.000000Z"),
        ("Nov 24 05:02:03", datetime(2026, 11, 24, 4, tzinfo=timezone.utc), "2025-11-24T05:02:03.000000Z"),
        ("Dec 31 23:59:59", datetime(2026, 1, 1, 0, 1, tzinfo=timezone.utc), "2025-12-31T23:59:59.000000Z"),
        ("Jan  1 00:00:00", datetime(2026, 1, 1, 0, 1, tzinfo=timezone.utc), "2026-01-01T00:00:00.000000Z"),
        ("Feb 29 12:00:00", datetime(2026, 3, 1, tzinfo=timezone.utc), "2024-02-29T12:00:00.000000Z"),
        ("Feb 30 12:00:00", datetime(2026, 3, 1, tzinfo=timezone.utc), None),
        (
            "Nov 24 01:02:03",
            datetime(2026, 11, 24, 4, tzinfo=timezone(timedelta(hours=2))),
            "2026-11-23T23:02:03.000000Z",
        ),
    ],
)
def test_a_time_without_a_year_gets_the_latest_year_that_is_not_in_the_future(stamp, latest, expected):
    log = f"{stamp} host kernel: Out of memory: Killed process 9 (a) {KILL}\n"
    [kill] = kills([log.encode()], ORIGIN, latest)

    assert kill.time == expected
    assert ("time" in kill.derived) == (expected is not None)


def test_the_year_can_change_within_a_log():
    log = "".join(
        f"{stamp} host kernel: Out of memory: Killed process {pid} (a) {KILL}\n"
        for pid, stamp in enumerate(["Dec 31 23:59:59", "Jan  1 00:00:01"], 1)
    )
    latest = datetime(2026, 1, 2, tzinfo=timezone.utc)

    assert [kill.time for kill in kills([log.encode()], ORIGIN, latest)] == [
        "2025-12-31T23:59:59.000000Z",
        "2026-01-01T00:00:01.000000Z",
    ]


def test_names_are_unescaped_in_kmsg_and_callers_are_read_in_both():
    assert kmsg(r"6,1,2,-;a\x0ab\xc3\xa9\x5c") == LogLine("a\nbé\\", ktime=2000)
    assert kmsg("6,1,2,-,caller=T9;a") == LogLine("a", ktime=2000, caller="T9")
    assert dmesg("[    1.000002][   C1] a") == LogLine("a", ktime=1_000_002_000, caller="C1")
    assert dmesg("[    1.000002] [  123]     0") == LogLine("[  123]     0", ktime=1_000_002_000)


def test_a_month_or_day_that_does_not_exist_gives_no_time():
    dated = Dated(LATEST)

    assert dated.human("[Xx Yyy 18 18:47:12 2021] a") == LogLine("a", guessed=True)
    assert dated.iso("2026-13-99T99:99:99,000000 a") == LogLine("a", guessed=True)


@pytest.mark.parametrize("month", ["Mar", "mars", "März", "Mär", "3月", "3월", "marzo", "mrt"])
def test_months_are_read_in_other_languages(month):
    found = Dated(LATEST).human(f"[X. {month} 18 18:47:12 2021] a")

    assert found == LogLine("a", wall=1_616_093_232_000_000_000, guessed=True)


def test_each_line_is_read_in_its_own_format():
    read = AnyFormat(LATEST)

    assert read("6,1,2,-;a") == LogLine("a", ktime=2000)
    assert read("[    1.000000] b") == LogLine("b", ktime=1_000_000_000)
    assert read("Nov 24 01:02:03 box kernel: c") == read("<6>Nov 24 01:02:03 box kernel: c")
    assert read("Nov 24 01:02:03 box app[7]: d") is None
