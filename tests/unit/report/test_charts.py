# SPDX-License-Identifier: Apache-2.0
"""Charts show the numbers that stand beside them: lengths are shares, and labels do not overlap."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest

from ooMtrace.report import charts
from ooMtrace.report.timeline import Bar, Bars

BEGIN = datetime(2026, 3, 1, 10, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
PLACE = re.compile(r'<rect x="([^"]*)" y="([^"]*)" width="([^"]*)" height="([^"]*)" fill="url\(#kind(\d)\)"')
TEXT = re.compile(r'<text x="([^"]*)" y="([^"]*)" text-anchor="(\w+)" aria-hidden="true">([^<]*)</text>')


def chart(*counts: tuple[int, ...], width: timedelta = HOUR) -> list[str]:
    """Return the chart of these bars for narrow and for wide screens."""
    bars = Bars(width, tuple(Bar(BEGIN + at * width, each) for at, each in enumerate(counts)), 0)
    return re.findall(r"<svg .*?</svg>", charts.over_time(bars, "label"))


def numbers(text: str) -> list[tuple[float, ...]]:
    return [tuple(map(float, found)) for found in PLACE.findall(text)]


def ticks(text: str) -> list[str]:
    """Return the labels of the axis of numbers, from below."""
    return [label for x, _, anchor, label in TEXT.findall(text) if anchor == "end" and x == "47" and label != "kills"]


def test_parts_of_a_bar_are_as_long_as_their_share_one_after_the_other():
    assert PLACE.findall(charts.bar([1, 0, 2], 4)) == [
        ("0.00%", "0", "25.00%", "14", "0"),
        ("25.00%", "0", "50.00%", "14", "2"),
    ]
    assert PLACE.findall(charts.bar([0, 0], 0)) == []


def test_a_limit_its_use_and_the_suggested_limit_have_one_scale():
    shown = charts.pair(100, 50, 200)

    assert PLACE.findall(shown) == [("0", "0", "50.00%", "8", "0"), ("0", "9", "25.00%", "8", "1")]
    assert re.findall('<line x1="([^"]*)" x2="([^"]*)"', shown) == [("99.50%", "99.50%")]
    assert re.findall('<line x1="([^"]*)"', charts.pair(200, 50, 100)) == ["49.75%"]


def test_a_limit_without_a_known_use_or_a_suggestion_has_no_mark():
    assert PLACE.findall(charts.pair(100, None, None)) == [
        ("0", "0", "100.00%", "8", "0"),
        ("0", "9", "0.00%", "8", "1"),
    ]
    assert "<line" not in charts.pair(100, 100, None)
    assert "%" in charts.pair(0, 0, None)


def test_bars_over_time_are_stacked_side_by_side_on_the_axis():
    narrow, wide = (numbers(each) for each in chart((3, 1), (0, 0), (0, 2)))

    assert narrow == [
        (52, 55.5, 89, 100.5, 0),
        (52, 22, 89, 33.5, 1),
        (232, 89, 89, 67, 1),
    ]
    assert [(y, height, kind) for _, y, _, height, kind in wide] == [
        (y, height, kind) for _, y, _, height, kind in narrow
    ]
    assert [x for x, *_ in wide] == [52, 52, 612]


@pytest.mark.parametrize(
    ("most", "labels"),
    [
        (1, ["0", "1", "2", "3", "4"]),
        (4, ["0", "1", "2", "3", "4"]),
        (5, ["0", "2", "4", "6", "8"]),
        (99, ["0", "25", "50", "75", "100"]),
        (101, ["0", "30", "60", "90", "120"]),
        (1234, ["0", "400", "800", "1,200", "1,600"]),
    ],
)
def test_the_axis_of_numbers_is_easy_to_read_and_holds_the_highest_bar(most, labels):
    for shown in chart((most,)):
        assert ticks(shown) == labels
        grid = [float(y) for y in re.findall(r'y1="([^"]*)" y2="[^"]*" class="grid"', shown)]
        assert (grid[0], grid[-1], len(grid)) == (156, 22, 5)
        ((_, y, _, height, _),) = numbers(shown)
        assert (y >= 22, round(y + height)) == (True, 156)


@pytest.mark.parametrize("number", [1, 2, 3, 5, 8, 24, 61, 120])
def test_labels_of_times_do_not_overlap_and_stay_in_the_chart(number):
    for shown, width in zip(chart(*[(1,)] * number), (330, 900), strict=True):
        labels = [(float(x), label) for x, _, anchor, label in TEXT.findall(shown) if anchor == "start"]
        assert labels[0] == (52, "03-01 10:00")
        assert all(after - before >= 88 for (before, _), (after, _) in pairwise(labels))
        assert labels[-1][0] + 70 <= width
        assert len(labels) >= min(number, width // 250)
        step = (width - 60) / number
        assert all(label == f"{BEGIN + round((x - 52) / step) * HOUR:%m-%d %H:%M}" for x, label in labels)


@pytest.mark.parametrize(
    ("seconds", "beginning", "length"),
    [
        (1, "03-01 10:00:00", "1 second"),
        (10, "03-01 10:00:00", "10 seconds"),
        (60, "03-01 10:00", "1 minute"),
        (600, "03-01 10:00", "10 minutes"),
        (3600, "03-01 10:00", "1 hour"),
        (21600, "03-01 10:00", "6 hours"),
        (86400, "2026-03-01", "1 day"),
        (36400 * 86400, "2026-03-01", "36,400 days"),
    ],
)
def test_times_are_as_exact_as_a_bar_is_wide(seconds, beginning, length):
    width = timedelta(seconds=seconds)

    assert charts.moment(BEGIN, width) == beginning
    assert charts.width_in_words(width) == length


def test_every_kind_has_a_pattern_of_its_own():
    shown = charts.patterns()

    assert re.findall('id="kind([0-9])"', shown) == re.findall('class="fill([0-9])"', shown) == list("012345")
    assert len(set(re.findall(' d="([^"]*)"', shown))) == 6


def test_a_legend_shows_the_patterns_of_the_bars():
    assert re.findall(r"url\(#kind(\d)\).*?</svg> ([a-z]+)</li>", charts.legend(["one", "two"])) == [
        ("0", "one"),
        ("1", "two"),
    ]
