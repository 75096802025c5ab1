# SPDX-License-Identifier: Apache-2.0
"""HTML whose text is always escaped: everything in a line may have been written by anybody. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

from ooMtrace.explain.facts import clean

LONGEST_ROW = 2000
KINDS = {"#": "number", "@": "when"}
"""How the cells of a column are shown: numbers at the right, and times in one line."""

Attributes = Mapping[str, str | int]
ROW: Attributes = {"role": "row"}
"""Roles are stated, because browsers forget those of a table whose rows are shown as blocks on a phone."""


class Html(str):
    """Text that is HTML already; only this module makes it of other text."""

    __slots__ = ()


def escape(text: str) -> Html:
    """Return text as HTML: markup and invisible characters in it are shown; ends of lines are kept."""
    return Html(html.escape("\n".join(clean(row, LONGEST_ROW) for row in text.split("\n"))))


def element(name: str, attributes: Attributes, *children: str) -> Html:
    """Return an element; children that are not Html are escaped."""
    shown = "".join(f' {key}="{escape(str(value))}"' for key, value in attributes.items())
    return Html(f"<{name}{shown}>{join(children)}</{name}>")


def join(parts: Iterable[str]) -> Html:
    """Return these parts one after the other; those that are not Html are escaped."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def name(text: str) -> Html:
    """Return a name out of a line: its direction of writing does not affect the text around it."""
    return element("bdi", {}, text)


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """Return a table; the first cell of a row is its header. On a phone each row is a block, with labels in it.

    Args:
        caption: What the table shows.
        columns: Their headings; the first character of one may be a key of KINDS.
        rows: Their cells, as text or Html.
    """
    kinds = [KINDS.get(column[:1], "") for column in columns]
    titles = [column.lstrip("".join(KINDS)) for column in columns]
    head = [
        element("th", {"scope": "col", "role": "columnheader", **_class(kind)}, title)
        for title, kind in zip(titles, kinds, strict=True)
    ]
    body = []
    for first, *others in rows:
        cells = [
            element("td", {"role": "cell", "data-label": title, **_class(kind)}, cell)
            for title, cell, kind in zip(titles[1:], others, kinds[1:], strict=True)
        ]
        body.append(element("tr", ROW, element("th", {"scope": "row", "role": "rowheader"}, first), *cells))
    return element(
        "div",
        {"class": "scroll", "role": "group", "tabindex": 0, "aria-label": caption},
        element(
            "table",
            {"role": "table"},
            element("caption", {}, caption),
            element("thead", {"role": "rowgroup"}, element("tr", ROW, *head)),
            element("tbody", {"role": "rowgroup"}, *body),
        ),
    )


def _class(name: str) -> dict[str, str]:
    return {"class": name} if name else {}
