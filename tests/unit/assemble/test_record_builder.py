# SPDX-License-Identifier: Apache-2.0
"""Which reading of the memory counters a record is made from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.assembler_stream import Stream, killed
from support.probe_events import decision, victim

from ooMtrace.assemble.attribution import UNKNOWN_RSS
from ooMtrace.events import Rss

PLAIN, SUMMED = Rss(file=200, anon=2000, swap=0, shmem=50), Rss(file=205, anon=2010, swap=1, shmem=50)
PLAIN_POINTS, SUMMED_POINTS = 2260, 2276


def total_of(stream: Stream, total: int | None, ktime: int, **changes: Any) -> int | None:
    """Add a kill and return the total of its line, which is computed if the kernel has none."""
    decision_ = None if total is None else decision(ktime=ktime, chosen_points=total)
    event = killed(100, ktime + 1, victim=victim(**{"rss": PLAIN, "rss_sum": SUMMED, **changes}), decision=decision_)
    return stream.add(event).kills[-1].oom.points.total


@pytest.mark.parametrize(
    ("kernel", "total"),
    [
        ("5.15.0-91-generic", PLAIN_POINTS),
        ("6.18.44", PLAIN_POINTS),
        ("7.0.0", SUMMED_POINTS),
        ("7.3.0-rc1", SUMMED_POINTS),
        ("10.1", SUMMED_POINTS),
    ],
)
def test_the_kernel_version_selects_the_reading_until_one_is_confirmed(kernel, total):
    assert total_of(Stream(kernel=kernel), None, 0x10) == total


@pytest.mark.parametrize(
    ("kernel", "confirmed", "after"),
    [
        ("6.18.44", SUMMED_POINTS, SUMMED_POINTS),
        ("6.18.44", PLAIN_POINTS, PLAIN_POINTS),
        ("7.3.0", PLAIN_POINTS, PLAIN_POINTS),
        ("7.3.0", SUMMED_POINTS, SUMMED_POINTS),
        ("6.18.44", 2300, PLAIN_POINTS),
        ("7.3.0", 2300, SUMMED_POINTS),
    ],
)
def test_a_total_that_matches_one_reading_selects_it_from_then_on(kernel, confirmed, after):
    stream = Stream("full", kernel=kernel)

    assert total_of(stream, confirmed, 0x10) == confirmed
    assert total_of(stream, None, 0x20) == after
    memory = stream.kills[-1].process.memory
    assert (memory.anon, memory.swap) == ((2000 * 4096, 0) if after == PLAIN_POINTS else (2010 * 4096, 4096))


@pytest.mark.parametrize(("kernel", "after"), [("6.18.44", PLAIN_POINTS), ("7.3.0", SUMMED_POINTS)])
def test_equal_readings_confirm_nothing(kernel, after):
    stream = Stream("full", kernel=kernel)

    assert total_of(stream, PLAIN_POINTS, 0x10, rss_sum=PLAIN) == PLAIN_POINTS
    assert total_of(stream, None, 0x20) == after


def test_a_partly_unknown_reading_without_total_confirms_nothing():
    stream = Stream(kernel="6.18.44")

    assert total_of(stream, None, 0x10, rss=replace(PLAIN, file=None)) == SUMMED_POINTS
    assert total_of(stream, None, 0x20) == PLAIN_POINTS


def test_a_total_that_matches_the_only_known_reading_confirms_nothing():
    stream = Stream("full", kernel="7.3.0")

    assert total_of(stream, PLAIN_POINTS, 0x10, rss_sum=UNKNOWN_RSS) == PLAIN_POINTS
    assert total_of(stream, None, 0x20) == SUMMED_POINTS
