# SPDX-License-Identifier: Apache-2.0
"""Counts lines, one at a time. Pure, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ooMtrace.explain.advice import suggestions
from ooMtrace.explain.case import Case
from ooMtrace.explain.facts import Facts
from ooMtrace.explain.history import History
from ooMtrace.explain.who import cause, name
from ooMtrace.report.names import UNKNOWN, host, limit_name, series, workload
from ooMtrace.report.newest import Newest
from ooMtrace.report.seen import Seen
from ooMtrace.report.tallies import MOST_HOSTS, MOST_LIMITS, OTHERS, Groups, Hits, Limit, Period, Workload
from ooMtrace.report.timeline import Timeline
from ooMtrace.settings import LEVELS

KILL = "oom_kill"
INCIDENTS = (KILL, "oom_no_kill", "sigkill")
"""Events that are shown with their explanation."""

NOT_CHOSEN = ("group_member", "shared_mm")
"""Verdicts of victims that died with another one."""

VERDICTS = ("killed", *NOT_CHOSEN)

MOST_LOSSES = 50
MOST_TITLE = 100
SENDERS = 1000
"""Names of senders that are counted one by one."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Kills without a line: where, in which period, and how many; None: not known."""

    host: str
    begin: datetime | None
    end: datetime | None
    count: int | None


@dataclass(slots=True)
class Total:
    """What is counted of all lines.

    Attributes:
        events: Lines by event, duplicates left out.
        duplicates: Lines whose id was there before.
        runs: Incidents: runs of the OOM killer, those without a kill included.
        lost: Kills that oom_lost lines state.
        losses: The last of these lines.
        dropped: By field, records and lines that were dropped before a line, and how many lines say so.
        charged: Bytes by kind that were charged to the cgroups, from lines that have the kernel's statistics.
        charged_kills: How many lines these are.
        advice: The newest first suggestion of each rule.
    """

    events: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    period: Period = field(default_factory=Period)
    timeless: int = 0
    levels: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    senders: Counter[str] = field(default_factory=Counter)
    no_kills: Counter[str] = field(default_factory=Counter)
    charged: Counter[str] = field(default_factory=Counter)
    charged_kills: int = 0
    runs: int = 0
    lost: int = 0
    losses: list[Loss] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    dropping: Counter[str] = field(default_factory=Counter)
    advice: dict[str, str] = field(default_factory=dict)


class Aggregate:
    """All that a report states. Kills are lines with the event oom_kill; other lines are counted apart."""

    def __init__(self) -> None:
        self.total = Total()
        self.hosts: Groups[Counter[str]] = Groups(Counter)
        self.workloads = Groups(Workload)
        self.limits = Groups(Limit)
        self.timeline = Timeline()
        self.newest = Newest()
        self.ids, self.incidents = Seen(), Seen()
        self._history = History()
        self._lines = 0

    def add(self, line: Mapping[str, Any]) -> None:
        """Count a line, unless one with its event and id was counted before."""
        case = Case(Facts(line))
        self._lines += 1
        if (identity := case.facts.word("id")) and not self.ids.add(case.event, identity):
            self.total.duplicates += 1
            return
        self.total.events[case.event] += 1
        self.hosts.of(host(case.facts))[case.event] += 1
        self._count_dropped(case.facts)
        time = case.facts.time("time")
        if case.event in (KILL, "sigkill"):
            if time:
                self.timeline.add(time, series(case))
            else:
                self.total.timeless += 1
        if case.event == KILL:
            self._count_kill(case, time)
        elif case.event == "oom_lost":
            self._count_loss(case.facts)
        elif case.event == "oom_no_kill":
            self.total.no_kills[cause(case)] += 1
        elif case.event == "sigkill":
            sender = case.facts.text("sigkill.sender.comm", 20) or UNKNOWN
            senders = self.total.senders
            senders[sender if sender in senders or len(senders) < SENDERS else OTHERS] += 1
        if case.event in INCIDENTS:
            self._keep(case, time, line)

    def _count_kill(self, case: Case, time: datetime | None) -> None:
        facts, total = case.facts, self.total
        found = suggestions(case)
        rule, advice = (found[0][0].name, found[0][1]) if found else ("", "")
        total.period.add(time)
        level, verdict = facts.word("fidelity"), facts.word("oom.verdict")
        total.levels[level if level in LEVELS else UNKNOWN] += 1
        total.causes[cause(case)] += 1
        total.rules[rule] += 1
        total.verdicts[verdict if verdict in VERDICTS else UNKNOWN] += 1
        _count(self.workloads.of(workload(facts)), case, time, rule, advice)
        if advice and (rule not in total.advice or total.period.last == time):
            total.advice[rule] = advice
        if case.charged:
            total.charged_kills += 1
            for part in case.charged:
                total.charged[part.name] += part.size
        if case.limit is not None and verdict not in NOT_CHOSEN:
            _count_limit(self.limits.of(limit_name(case)), case, time, rule)

    def _count_loss(self, facts: Facts) -> None:
        count = facts.amount("lost.count")
        self.total.lost += count or 0
        losses = self.total.losses
        losses.append(Loss(host(facts), facts.time("lost.from"), facts.time("lost.to"), count))
        if len(losses) > MOST_LOSSES:
            del losses[0]

    def _count_dropped(self, facts: Facts) -> None:
        for field_ in ("dropped_before", "output_dropped_before"):
            if number := facts.amount(field_):
                self.total.dropped[field_] += number
                self.total.dropping[field_] += 1

    def _keep(self, case: Case, time: datetime | None, line: Mapping[str, Any]) -> None:
        facts = case.facts
        incident = facts.word("oom.incident") or facts.word("id") or ""
        key = f"{case.event}\0{incident[:MOST_TITLE]}\0{self._lines if not incident else ''}"
        if self.incidents.add(key) and case.event != "sigkill":
            self.total.runs += 1
        self.newest.add(key, time, f"{host(facts)}, {_title(case)}", line, self._history.add(line))


def _title(case: Case) -> str:
    """Return what happened, in a few words."""
    if case.event == "oom_no_kill":
        return f"nothing killed: {cause(case)}"
    reason = f"SIGKILL from {case.facts.text('sigkill.sender.comm', 20) or 'another process'}"
    return f"{name(case.facts)[:MOST_TITLE]}: {reason if case.event == 'sigkill' else cause(case)}"


def _count(tally: Workload, case: Case, time: datetime | None, rule: str, advice: str) -> None:
    tally.kills += 1
    if len(tally.hosts) < MOST_HOSTS:
        tally.hosts.add(host(case.facts))
    tally.causes[cause(case)] += 1
    tally.rules[rule] += 1
    tally.period.add(time)
    if advice and tally.advised.add(time):
        tally.advice = advice
    if case.held:
        tally.measured += 1
        for part in case.held:
            tally.memory[part.name] += part.size
    if case.resident is not None:
        tally.largest = max(tally.largest or 0, case.resident)


def _count_limit(tally: Limit, case: Case, time: datetime | None, rule: str) -> None:
    value = case.limit or 0
    tally.kills += 1
    tally.rules[rule] += 1
    if tally.period.add(time):
        tally.newest = value
    hits = tally.by_value.setdefault(value, Hits())
    hits.kills += 1
    swap = case.facts.amount("oom.memcg.swap") or 0
    used = [size for size in (case.usage, case.facts.amount("oom.memcg.peak")) if size is not None]
    if used and (hits.use is None or max(used) + swap > hits.use):
        hits.use, hits.swap = max(used) + swap, swap
    if len(tally.by_value) > MOST_LIMITS:
        del tally.by_value[min(known for known in tally.by_value if known not in (value, tally.newest))]
