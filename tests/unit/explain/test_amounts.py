# SPDX-License-Identifier: Apache-2.0
"""Sizes, shares and periods as text: the units change where they are said to."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ooMtrace.explain.amounts import GIB, KIB, MIB, duration, percent, plural, size, times


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 us"),
        (0.000999, "999 us"),
        (0.001, "1 ms"),
        (0.9996, "999 ms"),
        (1, "1.0 s"),
        (59.99, "59.9 s"),
        (60, "1 min"),
        (61.9, "1 min 1 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (7260, "2 h 1 min"),
        (86399, "23 h 59 min"),
        (86400, "1 d"),
        (86400 * 1500 + 7200, "1,500 d 2 h"),
    ],
)
def test_a_period_has_its_largest_unit_and_the_one_below_it(seconds, expected):
    assert duration(timedelta(seconds=seconds)) == expected


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1,023 bytes"),
        (4 * KIB, "4 KiB"),
        (4 * KIB + 1, "4,097 bytes"),
        (MIB // 10 - 1, "104,856 bytes"),
        (MIB // 10, "0.1 MiB"),
        (10 * GIB - MIB, "10,239.0 MiB"),
        (10 * GIB, "10.0 GiB"),
        (4096 * GIB, "4,096.0 GiB"),
    ],
)
def test_a_size_has_the_unit_in_which_it_is_short(amount, expected):
    assert size(amount) == expected


@pytest.mark.parametrize(
    ("part", "whole", "expected"), [(1, 1, 100), (1, 3, 33), (2, 3, 66), (9, 3, 100), (-1, 3, 0), (1, 0, 0), (1, -1, 0)]
)
def test_a_share_is_rounded_down_and_no_more_than_the_whole(part, whole, expected):
    assert percent(part, whole) == expected


def test_one_of_something_is_in_the_singular():
    assert [plural(1, "pipe"), plural(0, "pipe"), plural(1200, "pipe")] == ["1 pipe", "0 pipes", "1,200 pipes"]
    assert [plural(1, "process", "processes"), plural(2, "process", "processes")] == ["1 process", "2 processes"]
    assert [times(1), times(2), times(1200)] == ["once", "2 times", "1,200 times"]
