# SPDX-License-Identifier: Apache-2.0
"""The whole page: one file that loads nothing and runs nothing. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ooMtrace.report import kills, rest, sizes
from ooMtrace.report.aggregate import Aggregate
from ooMtrace.report.charts import patterns
from ooMtrace.report.markup import Html, element, join
from ooMtrace.report.rest import Source
from ooMtrace.report.style import CSS, policy

TITLE = "Report on OOM kills"


def page(found: Aggregate, files: Sequence[Source]) -> bytes:
    """Return the report as an HTML document in UTF-8, the same for the same lines."""
    sections = {
        "time": ("Kills over time", kills.over_time(found)),
        "workloads": ("By workload", kills.workloads(found)),
        "causes": ("By cause", kills.causes(found)),
        "memory": ("What the memory consisted of", sizes.make_up(found)),
        "limits": ("Limits and peak use", sizes.limits(found)),
        "offenders": ("Repeat offenders", kills.offenders(found)),
        "losses": ("Losses", rest.losses(found)),
        "others": ("Other events", rest.others(found)),
        "incidents": ("Incidents", rest.incidents(found)),
        "input": ("What was read", rest.sources(found, files)),
    }
    links = [element("li", {}, element("a", {"href": f"#{key}"}, title)) for key, (title, _) in sections.items()]
    body = [
        element("a", {"class": "skip", "href": "#main"}, "Skip to the report"),
        patterns(),
        element("header", {}, element("h1", {}, TITLE), kills.overview(found)),
        element("nav", {"aria-label": "Parts of the report"}, element("ul", {}, *links)),
        element("main", {"id": "main"}, *(_section(key, *section) for key, section in sections.items())),
    ]
    return f"{_head()}{element('body', {}, *body)}</html>\n".encode("utf-8", "backslashreplace")


def _section(key: str, title: str, content: Html) -> Html:
    heading = element("h2", {"id": key}, title)
    return element("section", {"aria-labelledby": key}, heading, content)


def _head() -> str:
    parts = [
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy()}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="referrer" content="no-referrer">'),
        Html('<link rel="icon" href="data:,">'),
        element("title", {}, TITLE),
        Html(f"<style>{CSS}</style>"),
    ]
    return f'<!DOCTYPE html>\n<html lang="en">{element("head", {}, join(parts))}'
