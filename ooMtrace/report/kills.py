# SPDX-License-Identifier: Apache-2.0
"""Parts of the page about how many were killed: when, of which workload, and why. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from ooMtrace.explain.amounts import count, duration, percent, plural, size
from ooMtrace.report import charts
from ooMtrace.report.aggregate import KILL, Aggregate
from ooMtrace.report.markup import Html, element, join, name, table
from ooMtrace.report.names import SERIES, UNKNOWN
from ooMtrace.report.tallies import MOST_GROUPS, MOST_HOSTS, OTHERS, Groups, Limit, Period, Workload
from ooMtrace.report.timeline import Bars

TOP = 20
"""Rows of a table; the rest is counted."""

REPEATED = 2
NO_KILLS = "These lines have no kills by the kernel's OOM killer."
NO_RULE = "no rule fits"
Tally = TypeVar("Tally", Workload, Limit)


def paragraph(text: str) -> Html:
    """Return a paragraph of our own words; `this` is code."""
    parts = text.split("`")
    return element("p", {}, *(element("code", {}, part) if at % 2 else part for at, part in enumerate(parts)))


def moment(time: datetime | None) -> str:
    """Return a time to the second."""
    return f"{time:%Y-%m-%d %H:%M:%S}" if time else UNKNOWN


def share(part: int, whole: int) -> str:
    """Return a share in percent, rounded down; what is not 0 is not shown as 0."""
    return f"{percent(part, whole)} %" if part * 100 >= whole else "< 1 %"


def by_kills(groups: Groups[Tally]) -> list[tuple[str, Tally]]:
    """Return the tallies with the most kills first."""
    return sorted(groups.tallies.items(), key=lambda pair: (-pair[1].kills, pair[0]))


def overview(found: Aggregate) -> Html:
    """Return the period and the most important numbers."""
    total, kills = found.total, found.total.events[KILL]
    hosts, workloads = len(found.hosts.tallies), len(found.workloads.tallies)
    numbers = {
        "kills": count(kills),
        "incidents": count(found.total.runs),
        "workloads": _at_most(workloads),
        "hosts": _at_most(hosts),
        "kills without a line": count(total.lost),
    }
    boxes = [element("div", {}, element("dt", {}, key), element("dd", {}, value)) for key, value in numbers.items()]
    return join(
        [element("p", {"class": "soft"}, _period(total.period, kills)), element("dl", {"class": "numbers"}, *boxes)]
    )


def _at_most(number: int) -> str:
    return f"{number:,}" if number < MOST_GROUPS else f"{number:,} or more"


def _period(period: Period, kills: int) -> str:
    if not kills:
        return NO_KILLS
    if period.first is None or period.last is None:
        return "When they happened is not known."
    return f"{moment(period.first)} to {moment(period.last)} UTC. All times are UTC."


def over_time(found: Aggregate) -> Html:
    """Return the chart of kills over time, and its table."""
    chart = found.timeline.bars(SERIES)
    if not chart.bars:
        return paragraph("No line of a kill has a time." if found.total.timeless else NO_KILLS)
    total = sum(bar.total for bar in chart.bars)
    used = [at for at in range(len(SERIES)) if any(bar.counts[at] for bar in chart.bars)]
    most = max(chart.bars, key=lambda bar: bar.total)
    width = charts.width_in_words(chart.width)
    label = (
        f"Bar chart: {plural(total, 'kill')} over time, one bar for {width}."
        f" Most, {count(most.total)}, from {charts.moment(most.begin, chart.width)} on. The table below has them all."
    )
    parts = [
        charts.legend(SERIES[: max(used) + 1]),
        charts.over_time(chart, label),
        paragraph(f"Each bar is {width}; times are UTC.{_left_out(found, chart)}"),
        _numbers(chart, used),
    ]
    return join(parts)


def _left_out(found: Aggregate, chart: Bars) -> str:
    outside = f" Left out: {plural(chart.outside, 'kill')} long before or after." if chart.outside else ""
    timeless = f" Left out: {plural(found.total.timeless, 'kill')} without a time." if found.total.timeless else ""
    return outside + timeless


def _numbers(chart: Bars, used: Sequence[int]) -> Html:
    """Return the numbers of the chart; stretches of time without kills are left out."""
    rows = [
        (charts.moment(bar.begin, chart.width), count(bar.total), *(count(bar.counts[at]) for at in used))
        for bar in chart.bars
        if bar.total
    ]
    columns = ("@from (UTC)", "#kills", *(f"#{SERIES[at]}" for at in used))
    return folded("The numbers as a table", table("Kills over time", columns, rows))


def folded(title: str, *content: str) -> Html:
    """Return something that is shown when its title is activated."""
    return element("details", {}, element("summary", {}, title), *content)


def workloads(found: Aggregate) -> Html:
    """Return the workloads with the most kills."""
    ranked = by_kills(found.workloads)
    if not ranked:
        return paragraph(NO_KILLS)
    most, total = ranked[0][1].kills, found.total.events[KILL]
    rows = [
        (
            join([name(key), charts.bar([tally.kills], most)]),
            count(tally.kills),
            share(tally.kills, total),
            _hosts(tally),
            size(tally.largest) if tally.largest is not None else UNKNOWN,
            moment(tally.period.first),
            moment(tally.period.last),
        )
        for key, tally in ranked[:TOP]
    ]
    columns = ("workload", "#kills", "#share", "#hosts", "#largest victim", "@first", "@last")
    shown = table("Workloads with the most kills", columns, rows)
    return join([shown, not_shown(found.workloads)])


def not_shown(groups: Groups[Tally]) -> Html:
    """Return how many tallies are not among the TOP, and their kills."""
    rest = by_kills(groups)[TOP:]
    kills = sum(tally.kills for _, tally in rest) + (groups.others.kills if groups.others else 0)
    many = _at_most(len(rest)) if groups.others is None else f"{len(rest):,} or more"
    return paragraph(f"Not shown: {many} others, with {plural(kills, 'kill')}.") if kills else Html()


def _hosts(tally: Workload) -> str:
    return count(len(tally.hosts)) if len(tally.hosts) < MOST_HOSTS else f"{MOST_HOSTS} or more"


def causes(found: Aggregate) -> Html:
    """Return what ran out, how victims came to die, and which first suggestion fits."""
    total = found.total
    if not total.events[KILL]:
        return paragraph(NO_KILLS)
    verdicts = {
        "killed": "chosen by the kernel",
        "group_member": "killed with their group (memory.oom.group)",
        "shared_mm": "shared the memory of the chosen process",
    }
    parts = [
        _shares("What ran out of memory", "cause", total.causes.most_common()),
        _shares(
            "How the victims came to die",
            "verdict",
            ((verdicts.get(key, key), n) for key, n in _sorted(total.verdicts)),
        ),
        element("h3", {}, "What would help"),
        paragraph(
            "The first suggestion that `oomtrace explain` makes for each kill, with the newest example of each rule."
        ),
        _rules(found),
    ]
    return join(parts)


def _sorted(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _shares(caption: str, column: str, counts: Iterable[tuple[str, int]]) -> Html:
    found = sorted(counts, key=lambda pair: (-pair[1], pair[0]))
    shown, whole = found[:TOP], sum(number for _, number in found)
    if len(found) > TOP:
        shown.append((OTHERS, sum(number for _, number in found[TOP:])))
    most = max(number for _, number in shown)
    rows = [
        (join([name(key), charts.bar([number], most)]), count(number), share(number, whole)) for key, number in shown
    ]
    return table(caption, (column, "#kills", "#share"), rows)


def _rules(found: Aggregate) -> Html:
    advice, whole = found.total.advice, found.total.events[KILL]
    rows = [
        (
            rule or NO_RULE,
            count(number),
            share(number, whole),
            element("span", {"class": "long"}, advice.get(rule, "")),
        )
        for rule, number in _sorted(found.total.rules)
    ]
    return table("First suggestions, by rule", ("rule", "#kills", "#share", "newest example"), rows)


def offenders(found: Aggregate) -> Html:
    """Return the workloads that were killed again and again, with what would help most of them."""
    ranked = [(key, tally) for key, tally in by_kills(found.workloads) if tally.kills >= REPEATED]
    if not ranked:
        return paragraph("No workload was killed more than once." if found.total.events[KILL] else NO_KILLS)
    rows = [
        (name(key), count(tally.kills), _interval(tally), _hosts(tally), moment(tally.period.last), _advice(tally))
        for key, tally in ranked[:TOP]
    ]
    columns = ("workload", "#kills", "#on average every", "#hosts", "@last kill", "suggestion for its last kill")
    most = f"the {TOP} with the most kills are shown" if len(ranked) > TOP else "all are shown"
    note = f"Killed more than once: {plural(len(ranked), 'workload')}; {most}."
    return join([paragraph(note), table("Repeat offenders", columns, rows)])


def _interval(tally: Workload) -> str:
    first, last = tally.period.first, tally.period.last
    if first is None or last is None:
        return UNKNOWN
    interval = (last - first) / (tally.kills - 1)
    return duration(interval) if interval > timedelta() else "0 s"


def _advice(tally: Workload) -> Html:
    ((rule, number),) = tally.rules.most_common(1)
    if not tally.advice:
        return element("span", {"class": "long"}, NO_RULE)
    return element(
        "span", {"class": "long"}, f"{tally.advice} (Most frequent rule: {rule or NO_RULE}, {plural(number, 'kill')}.)"
    )
