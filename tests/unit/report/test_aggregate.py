# SPDX-License-Identifier: Apache-2.0
"""The counts of a report are those that a computation over all lines at once gives, in bounded memory."""

from __future__ import annotations

import copy
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.explained import CAUSES, changed, line
from support.fleet import fleet_lines

from ooMtrace.report import aggregate, tallies, timeline
from ooMtrace.report.aggregate import MOST_LOSSES, Aggregate
from ooMtrace.report.names import SERIES, workload
from ooMtrace.report.newest import MOST, MOST_LINES, Newest
from ooMtrace.report.seen import Seen
from ooMtrace.report.tallies import MOST_LIMITS, Groups
from ooMtrace.report.timeline import MOST_BARS, Timeline

UTC = timezone.utc
LINES = {name: line(name) for name in CAUSES}


def aggregate_of(lines: Iterable[dict[str, Any]]) -> Aggregate:
    found = Aggregate()
    for each in lines:
        found.add(each)
    return found


def kill(**facts: Any) -> dict[str, Any]:
    """Return a kill with these facts; a dot in their names is written as two underscores."""
    found = changed("too-small", {name.replace("__", "."): value for name, value in facts.items()})
    if "id" not in facts:
        del found["id"]
    return found


a_time = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)) | st.datetimes(
    datetime(2026, 1, 1),
    datetime(2026, 1, 9),
)
lines = st.builds(
    lambda name, id_, host, time, path: {
        **changed(name, {"oom.memcg.path": path, "host.name": host} if "oom" in LINES[name] else {"host.name": host}),
        "id": id_,
        "time": f"{time.isoformat(timespec='microseconds')}Z",
    },
    st.sampled_from(sorted(CAUSES)),
    st.integers(0, 30).map(str),
    st.sampled_from(["a", "b", "c"]),
    a_time,
    st.sampled_from(["/one", "/two"]),
)


@given(st.lists(lines, max_size=25))
@settings(deadline=None, max_examples=25)
def test_counts_are_those_of_a_naive_computation(given_lines):
    found = aggregate_of(given_lines)
    unique = list({(one["event"], one["id"]): one for one in reversed(given_lines)}.values())
    kills = [one for one in unique if one["event"] == "oom_kill"]

    assert found.total.duplicates == len(given_lines) - len(unique)
    assert found.total.events == Counter(one["event"] for one in unique)
    assert {host: counts.total() for host, counts in found.hosts.tallies.items()} == Counter(
        one["host"]["name"] for one in unique
    )
    assert sum(found.total.causes.values()) == sum(found.total.rules.values()) == len(kills)
    assert found.total.verdicts == Counter(one["oom"]["verdict"] for one in kills)
    assert sum(tally.kills for tally in found.workloads.tallies.values()) == len(kills)
    assert sum(tally.memory["anonymous"] for tally in found.workloads.tallies.values()) == sum(
        one["process"]["memory"]["anon"] for one in kills if "memory" in one["process"]
    )
    assert found.total.lost == sum(one["lost"]["count"] for one in unique if one["event"] == "oom_lost")
    at_limit = [one for one in kills if one["oom"].get("scope") == "memcg" and "limit" in one["oom"].get("memcg", {})]
    chosen = [one for one in at_limit if one["oom"]["verdict"] == "killed"]
    assert sum(tally.kills for tally in found.limits.tallies.values()) == len(chosen)
    assert sum(hits.kills for tally in found.limits.tallies.values() for hits in tally.by_value.values()) == len(chosen)
    bars = found.timeline.bars(SERIES)
    assert sum(bar.total for bar in bars.bars) + bars.outside == sum(
        one["event"] in ("oom_kill", "sigkill") for one in unique
    )
    assert len(bars.bars) <= MOST_BARS
    incidents = {one["oom"].get("incident", one["id"]) for one in unique if one["event"] in ("oom_kill", "oom_no_kill")}
    assert found.total.runs >= len(incidents)  # a kill and an OOM without one are never one incident


@given(st.lists(a_time, min_size=1, max_size=100), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_the_chart_does_not_depend_on_the_order_of_the_lines(times, chance):
    one, other = Timeline(), Timeline()
    shuffled = times[:]
    chance.shuffle(shuffled)
    for here, there in zip(times, shuffled, strict=True):
        one.add(here.replace(tzinfo=UTC), SERIES[0])
        other.add(there.replace(tzinfo=UTC), SERIES[0])

    assert one.bars(SERIES) == other.bars(SERIES)
    begins = [bar.begin for bar in one.bars(SERIES).bars]
    assert begins == sorted(begins)


def test_the_bins_become_wider_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(timeline, "MOST_BINS", 10)
    counts = Timeline()
    for second in range(5000):
        counts.add(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second * 60), SERIES[0])

    chart = counts.bars(SERIES)
    assert (chart.width, sum(bar.total for bar in chart.bars)) == (timedelta(days=1), 5000)


def test_a_few_kills_of_a_wrong_clock_do_not_flatten_the_chart():
    counts = Timeline()
    for minute in range(200):
        counts.add(datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=minute), SERIES[0])
    counts.add(datetime(1970, 1, 1, tzinfo=UTC), SERIES[0])
    counts.add(datetime(2099, 1, 1, tzinfo=UTC), SERIES[0])

    chart = counts.bars(SERIES)
    assert (chart.width, chart.outside, chart.bars[0].begin) == (
        timedelta(minutes=10),
        2,
        datetime(2026, 3, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize("year", [1970, 2025, 2027, 2099])
def test_kills_of_a_wrong_clock_are_left_out_on_either_side(year):
    counts = Timeline()
    for minute in range(200):
        counts.add(datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=minute), SERIES[0])
    for second in range(4):
        counts.add(datetime(year, 1, 1, 0, 0, second, tzinfo=UTC), SERIES[0])
    assert (counts.bars(SERIES).width, counts.bars(SERIES).outside) == (timedelta(minutes=10), 4)

    counts.add(datetime(year, 1, 1, 0, 0, 5, tzinfo=UTC), SERIES[0])  # more than one in 50
    assert counts.bars(SERIES).outside == 0


@pytest.mark.parametrize(
    ("after", "width", "begin"),
    [
        (timedelta(), timedelta(seconds=1), datetime(2026, 3, 4, 10, 0, 7)),
        (timedelta(seconds=119), timedelta(seconds=1), datetime(2026, 3, 4, 10, 0, 7)),
        (timedelta(seconds=120), timedelta(seconds=10), datetime(2026, 3, 4, 10)),
        (timedelta(days=100), timedelta(days=1), datetime(2026, 3, 4)),
        (timedelta(days=300), timedelta(days=7), datetime(2026, 3, 2)),
    ],
)
def test_bars_begin_at_a_multiple_of_their_width_and_weeks_with_a_monday(after, width, begin):
    counts = Timeline()
    for time in (datetime(2026, 3, 4, 10, 0, 7, tzinfo=UTC), datetime(2026, 3, 4, 10, 0, 7, tzinfo=UTC) + after):
        counts.add(time, SERIES[0])

    chart = counts.bars(SERIES)
    assert (chart.width, chart.bars[0].begin) == (width, begin.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({}, "cgroup /explained"),
        ({"cgroup.path": "/"}, "process python"),
        ({"systemd.unit": "web.service"}, "unit web.service"),
        ({"systemd.unit": "session-3.scope", "systemd.session": "3"}, "process python"),
        ({"container.id": "a" * 64, "cgroup.path": f"/docker/{'a' * 64}"}, "process python"),
        ({"container.id": "a" * 64, "container.image.name": "shop/web:41"}, "image shop/web:41"),
        ({"container.name": "web-1", "container.image.name": "shop/web:41"}, "container web-1"),
        (
            {"application.id": "application_17_0001", "cgroup.path": "/yarn/container_17"},
            "application application_17_0001",
        ),
        ({"scheduler.system": "slurm", "scheduler.id": "4711"}, "slurm: python"),
        ({"k8s.pod.uid": "1-2", "k8s.namespace.name": "prod"}, "prod / pod 1-2"),
        (
            {"k8s.pod.name": "web-7d-x", "k8s.workload.kind": "Deployment", "k8s.workload.name": "web"},
            "Deployment web",
        ),
        ({"k8s": "no object", "process.comm": 7, "cgroup": None, "process": {}}, "pod not known"),
        ({"cgroup": None, "process": {}}, "not known"),
    ],
)
def test_a_workload_has_the_first_name_that_outlives_its_processes(facts, name):
    from ooMtrace.explain.facts import Facts

    assert workload(Facts(changed("spike", facts))) == name


def test_a_line_that_is_repeated_counts_once_and_one_without_id_each_time():
    named, nameless = kill(id="1"), kill()

    found = aggregate_of([named, nameless, copy.deepcopy(named), nameless])
    assert (found.total.events["oom_kill"], found.total.duplicates) == (3, 1)


def test_the_exit_of_a_victim_is_no_kill():
    found = aggregate_of([line("exit"), line("lost"), line("sigkill"), line("vm-6.1-no-kill")])

    assert found.total.events["oom_kill"] == 0
    assert not found.workloads.tallies
    assert (found.total.runs, found.incidents.count, found.total.lost) == (1, 2, 3)


def test_one_incident_has_all_its_victims():
    found = aggregate_of(kill(id=str(number), oom__incident="i") for number in range(7))

    (incident,) = found.newest.incidents()
    assert (incident.lines, len(incident.texts()), found.total.runs) == (7, MOST_LINES, 1)


def test_the_newest_incidents_are_kept_in_any_order():
    newest = Newest(3)
    for number in (5, 1, 9, 7, 3, 8):
        newest.add(str(number), datetime(2026, 1, number, tzinfo=UTC), str(number), line("spike"), "")
    newest.add("no time", None, "no time", line("spike"), "")

    assert [incident.title for incident in newest.incidents()] == ["9", "8", "7"]


def test_a_set_of_ids_forgets_the_oldest():
    seen = Seen(2)

    assert [seen.add(text) for text in "abab"] == [True, True, False, False]
    assert not seen.has_forgotten
    assert [seen.add(text) for text in "ca"] == [True, True]
    assert seen.has_forgotten
    assert seen.add("a", "b")
    assert seen.add("ab", "")


def test_kills_of_too_many_workloads_are_counted_together(monkeypatch):
    monkeypatch.setattr(tallies, "MOST_GROUPS", 3)
    found = aggregate_of(kill(cgroup__path=f"/{number % 5}") for number in range(10))

    assert [tally.kills for tally in found.workloads.tallies.values()] == [2, 2, 2]
    assert found.workloads.others
    assert found.workloads.others.kills == 4


def test_a_limit_has_so_many_values_at_most_and_keeps_the_newest():
    values = [kill(oom__memcg__limit=number << 20, time=f"2026-01-01T00:{number:02}:00Z") for number in range(1, 60)]
    found = aggregate_of([values[30], *values, *values])

    (limit,) = found.limits.tallies.values()
    assert len(limit.by_value) == MOST_LIMITS
    assert limit.newest == 59 << 20


def test_the_last_losses_are_kept_and_all_are_counted():
    loss = line("lost")
    found = aggregate_of({**loss, "id": str(number)} for number in range(MOST_LOSSES + 5))

    assert (len(found.total.losses), found.total.lost) == (MOST_LOSSES, 3 * (MOST_LOSSES + 5))


def test_dropped_records_and_lines_are_added_up():
    found = aggregate_of([kill(dropped_before=4), kill(dropped_before=1, output_dropped_before=7)])

    assert found.total.dropped == {"dropped_before": 5, "output_dropped_before": 7}


def test_senders_that_are_known_are_counted_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(aggregate, "SENDERS", 2)
    lines_ = [changed("sigkill", {"sigkill.sender.comm": name, "id": str(n)}) for n, name in enumerate("abcabd")]

    assert aggregate_of(lines_).total.senders == {"a": 2, "b": 2, "all others": 2}


def test_words_that_this_version_does_not_know_are_counted_together():
    found = aggregate_of(kill(fidelity=f"level {n}", oom__verdict=f"verdict {n}") for n in range(3))

    assert found.total.levels == found.total.verdicts == {"not known": 3}


def test_groups_are_made_only_when_they_are_needed():
    groups: Groups[list[int]] = Groups(list)

    groups.of("a").append(1)
    assert (groups.tallies, groups.others) == ({"a": [1]}, None)


def calls(lines_: list[dict[str, Any]]) -> int:
    """Return how many functions are called to count these lines."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        aggregate_of(lines_)
    finally:
        sys.setprofile(None)
    return count


def test_each_of_2000_lines_costs_as_much_as_each_of_500():
    """Even if each has a workload, a host, an incident and a limit of its own, the newest last."""
    made = [
        {
            **kill(id=str(n), cgroup__path=f"/{n}", oom__memcg__path=f"/{n}", oom__incident=str(n), host__name=str(n)),
            "time": f"2026-01-01T00:{n // 60 % 60:02}:{n % 60:02}Z",
        }
        for n in range(2000)
    ]

    assert calls(made) < 4.4 * calls(made[:500])


def test_memory_does_not_grow_with_the_number_of_lines():
    def peak(number: int) -> int:
        tracemalloc.start()
        aggregate_of(fleet_lines(number))
        peak_ = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak_

    assert peak(800) - peak(300) < 500 * 2000  # an id, an incident and a bin; a line would take 10,000 bytes


def test_long_lines_of_the_newest_incidents_do_not_stay_in_memory():
    huge = kill(oom__incident="x", process__command_args=["x" * 1000] * 900)
    found = aggregate_of(
        {**huge, "id": str(number), "oom": {**huge["oom"], "incident": str(number)}} for number in range(60)
    )

    assert all(isinstance(one, str) for incident in found.newest.incidents() for one in incident.kept)
    assert MOST >= 60
    assert aggregate.INCIDENTS == ("oom_kill", "oom_no_kill", "sigkill")
