# SPDX-License-Identifier: Apache-2.0
"""Parts of the page about memory: what it consisted of, and limits against peak use. Pure."""

from __future__ import annotations

from collections import Counter

from ooMtrace.explain.amounts import count, plural, size
from ooMtrace.report import charts
from ooMtrace.report.aggregate import Aggregate
from ooMtrace.report.kills import TOP, by_kills, not_shown, paragraph
from ooMtrace.report.markup import Html, element, join, name, table
from ooMtrace.report.names import UNKNOWN
from ooMtrace.report.sizing import Sizing, sizing
from ooMtrace.report.tallies import Limit

KINDS = ("anonymous", "files", "shared, tmpfs", "page tables", "in swap", "other")
KIND_OF = {"mapped files": "files", "page cache": "files", "other kernel": "other", "not listed": "other"}
SHOWN = 10
NONE = "none"


def make_up(found: Aggregate) -> Html:
    """Return what the victims' memory consisted of, on average."""
    tallies = [tally for tally in (*found.workloads.tallies.values(), found.workloads.others) if tally]
    measured, memory = sum(tally.measured for tally in tallies), Counter[str]()
    for tally in tallies:
        memory.update(tally.memory)
    if not measured:
        return paragraph("No line has the memory of its victim.")
    rows = [_row("all victims", memory, measured)]
    if found.total.charged_kills:
        rows.append(_row("charged to the cgroup", found.total.charged, found.total.charged_kills))
    ranked = [(key, tally) for key, tally in by_kills(found.workloads) if tally.measured]
    rows += [_row(key, tally.memory, tally.measured) for key, tally in ranked[:SHOWN]]
    columns = ("of", "share of each kind", "#kills", *(f"#{kind}" for kind in KINDS))
    note = (
        f"Averages of {plural(measured, 'kill')}: what each victim held when it was killed, for all and for the"
        " workloads with the most kills."
    )
    charged = (
        f" The kernel's statistics of the whole cgroup are in {plural(found.total.charged_kills, 'line')}."
        if found.total.charged_kills
        else ""
    )
    return join([paragraph(note + charged), charts.legend(KINDS), table("Memory by kind", columns, rows)])


def _row(of: str, memory: Counter[str], kills: int) -> tuple[str, ...]:
    parts = Counter[str]()
    for kind, amount in memory.items():
        parts[KIND_OF.get(kind, kind)] += amount
    amounts = [parts[kind] for kind in KINDS]
    averages = [size(amount // kills) if KINDS[at] in parts else "" for at, amount in enumerate(amounts)]
    return name(of), charts.bar(amounts, sum(amounts)), count(kills), *averages


def limits(found: Aggregate) -> Html:
    """Return the limits that were hit most, with a suggestion and the reason for it."""
    ranked = by_kills(found.limits)
    if not ranked:
        return paragraph("No line has a limit that was hit.")
    rows = [_limit(key, tally, sizing(tally)) for key, tally in ranked[:TOP]]
    columns = ("limit of", "limit and use", "#kills", "#limit", "#peak use", "#suggested", "evidence")
    about = (
        "The limit at the last kill, and the most that was charged to it when it killed, swap included. Use ends at the"
        " limit, so a suggestion is the next step up, a quarter above the largest known use, and no measure of the"
        " need. A process that is not chosen leaves no line: smaller limits cannot be suggested from kills."
    )
    legend = element(
        "div", {}, charts.legend(("limit", "peak use")), paragraph("The vertical line is the suggested limit.")
    )
    return join([paragraph(about), legend, table("Limits that were hit most", columns, rows), not_shown(found.limits)])


def _limit(key: str, tally: Limit, found: Sizing) -> tuple[str, ...]:
    return (
        name(key),
        charts.pair(found.limit, found.use, found.suggested),
        count(tally.kills),
        size(found.limit),
        size(found.use) if found.use is not None else UNKNOWN,
        size(found.suggested) if found.suggested is not None else NONE,
        element("span", {"class": "long"}, found.evidence),
    )
