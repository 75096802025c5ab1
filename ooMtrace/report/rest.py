# SPDX-License-Identifier: Apache-2.0
"""Parts of the page about losses, other events, incidents one by one, and what was read. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ooMtrace.explain.amounts import count, plural
from ooMtrace.report.aggregate import KILL, MOST_LOSSES, Aggregate
from ooMtrace.report.kills import TOP, moment, paragraph
from ooMtrace.report.markup import Html, element, join, name, table
from ooMtrace.report.names import UNKNOWN
from ooMtrace.report.newest import Incident
from ooMtrace.report.seen import MOST
from ooMtrace.report.tallies import OTHERS

EVENTS = {
    KILL: "kills by the OOM killer",
    "oom_no_kill": "memory ran out, and nothing was killed",
    "oom_lost": "kills that nobody could record",
    "sigkill": "SIGKILL from user space",
    "oom_dying": "marked by the OOM killer, but already dying",
    "oom_exit": "exits of victims",
}
MOST_FILES = 100
"""That are shown one by one, those with something wrong first."""

DROPPED = {
    "dropped_before": "records were lost between the kernel and oomtrace",
    "output_dropped_before": "lines were dropped because an output had no room; another output may have them",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was read.

    Attributes:
        name: As it was given.
        lines: How many lines it has.
        wrong: How much in it is no line.
        examples: The first of these: where, and why.
        error: Why it was not read to its end; "": it was.
    """

    name: str
    lines: int = 0
    wrong: int = 0
    examples: tuple[str, ...] = ()
    error: str = ""


def losses(found: Aggregate) -> Html:
    """Return kills without a line, and dropped lines."""
    total, parts = found.total, list[str]()
    if total.events["oom_lost"]:
        rows = [
            (
                name(loss.host),
                count(loss.count) if loss.count is not None else UNKNOWN,
                moment(loss.begin),
                moment(loss.end),
            )
            for loss in reversed(total.losses)
        ]
        newest = f" The last {MOST_LOSSES} are shown." if total.events["oom_lost"] > MOST_LOSSES else ""
        parts.append(
            paragraph(
                f"{plural(total.lost, 'kill')} in {plural(total.events['oom_lost'], 'oom_lost line')}: the kernel"
                f" counted them, and neither a probe nor the kernel log had them.{newest}"
            )
        )
        parts.append(table("Kills without a line", ("host", "#kills", "@from", "@to"), rows))
    for field, meaning in DROPPED.items():
        if total.dropped[field]:
            parts.append(paragraph(f"{count(total.dropped[field])} {meaning} (`{field}`)."))
    return join(
        parts or [paragraph("None is stated: these lines have no oom_lost, and no line says that any were dropped.")]
    )


def others(found: Aggregate) -> Html:
    """Return what else there is besides kills."""
    total = found.total
    rows = [(meaning, event, count(total.events[event])) for event, meaning in EVENTS.items()]
    parts: list[str] = [table("Lines by event, each id once", ("event", "name", "#lines"), rows)]
    if total.senders:
        ranked = sorted(total.senders.items(), key=lambda pair: (-pair[1], pair[0]))
        shown = [(name(sender), count(number)) for sender, number in ranked[:TOP]]
        if len(ranked) > TOP:
            shown.append((name(OTHERS), count(sum(number for _, number in ranked[TOP:]))))
        parts.append(table("SIGKILL from user space, by sender", ("sender", "#lines"), shown))
    if total.no_kills:
        causes = sorted(total.no_kills.items(), key=lambda pair: (-pair[1], pair[0]))
        parts.append(
            table("Memory ran out, nothing killed", ("cause", "#lines"), [(key, count(n)) for key, n in causes])
        )
    return join(parts)


def incidents(found: Aggregate) -> Html:
    """Return the newest incidents, each with the explanation of its first lines."""
    shown, number = found.newest.incidents(), found.incidents.count
    if not shown:
        return paragraph("These lines have no incidents.")
    left_out = number - len(shown)
    about = f"All {count(number)}, the newest first." if number > 1 else "There is one."
    if left_out > 0:
        about = (
            f"The newest {count(len(shown))} of {count(number)}; {count(left_out)} older ones are left out."
            " `oomtrace explain FILE` explains each line of a file."
        )
    return join([paragraph(about), *(_incident(incident, at) for at, incident in enumerate(shown, 1))])


def _incident(incident: Incident, number: int) -> Html:
    victims = f", {count(incident.lines)} lines" if incident.lines > 1 else ""
    title = join([f"{moment(incident.time)}, ", name(incident.title), victims])
    texts = [
        element("pre", {"tabindex": 0, "role": "group", "aria-label": f"Explanation {number}.{at}"}, text.rstrip("\n"))
        for at, text in enumerate(incident.texts(), 1)
    ]
    more = incident.lines - len(texts)
    if more > 0:
        texts.append(
            paragraph(f"{plural(more, 'more line')} of this incident {'is' if more == 1 else 'are'} not shown.")
        )
    return element("details", {}, element("summary", {}, element("h3", {}, title)), *texts)


def sources(found: Aggregate, files: Sequence[Source]) -> Html:
    """Return what was read, and what could not be read."""
    shown = (
        sorted(files, key=lambda file: not (file.error or file.wrong))[:MOST_FILES]
        if len(files) > MOST_FILES
        else files
    )
    rows = [(name(file.name), count(file.lines), count(file.wrong), name(file.error or "yes")) for file in shown]
    parts: list[str] = [table("Files", ("file", "#lines", "#no lines", "read to its end"), rows)]
    if len(files) > len(shown):
        lines = sum(file.lines for file in files) - sum(file.lines for file in shown)
        parts.append(
            paragraph(f"Not shown: {plural(len(files) - len(shown), 'file')} more, with {plural(lines, 'line')}.")
        )
    examples = [f"{file.name}, {example}" for file in shown for example in file.examples]
    if examples:
        parts.append(paragraph("Not lines of oomtrace, and left out; the first of each file:"))
        parts.append(element("ul", {}, *(element("li", {}, name(example)) for example in examples)))
    if found.total.duplicates:
        parts.append(
            paragraph(f"{plural(found.total.duplicates, 'line')} had the event and id of an earlier one: counted once.")
        )
    if found.ids.has_forgotten or found.incidents.has_forgotten:
        parts.append(paragraph(f"Only the last {MOST:,} ids are compared: a line that is repeated later counts twice."))
    if found.total.levels:
        levels = sorted(found.total.levels.items(), key=lambda pair: (-pair[1], pair[0]))
        parts.append(
            table("Kills by level of the source", ("fidelity", "#kills"), [(k, count(n)) for k, n in levels[:TOP]])
        )
    return join(parts)
