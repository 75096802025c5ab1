# SPDX-License-Identifier: Apache-2.0
"""Charts as SVG. Each kind has a colour and a pattern, and the same numbers stand in a table beside it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ooMtrace.report.markup import Html, element, join
from ooMtrace.report.timeline import DAY, HOUR, MINUTE, Bars

PATTERNS = ("", "M0 6L6 0", "M3 0V6", "M0 3H6", "M0 0L6 6M0 6L6 0", "M3 2V4")
"""Lines on the colour of each kind, in a square of 6 by 6."""

HEIGHT, LEFT, RIGHT, BOTTOM, TOP = 200, 52, 8, 44, 22
TICKS = 4
LABEL = 110
"""Width that a label of the time axis needs."""

BAR_HEIGHT = 14


@dataclass(frozen=True, slots=True)
class Size:
    """How a chart is shown on screens of one kind: its class, and its width in pixels."""

    kind: str
    width: int


SIZES = (Size("narrow", 330), Size("wide", 900))


def patterns() -> Html:
    """Return the patterns that all charts of a page refer to."""
    shown = [
        element(
            "pattern",
            {"id": f"kind{at}", "width": 6, "height": 6, "patternUnits": "userSpaceOnUse"},
            element("rect", {"width": 6, "height": 6, "class": f"fill{at}"}),
            element("path", {"d": lines, "class": "line"}),
        )
        for at, lines in enumerate(PATTERNS)
    ]
    attributes: dict[str, str | int] = {"width": 0, "height": 0, "class": "patterns", "aria-hidden": "true"}
    return element("svg", attributes, element("defs", {}, *shown))


def legend(names: Sequence[str]) -> Html:
    """Return what each pattern stands for."""
    items = [element("li", {}, _swatch(at), f" {name}") for at, name in enumerate(names)]
    return element("ul", {"class": "legend"}, *items)


def _swatch(at: int) -> Html:
    attributes: dict[str, str | int] = {"width": BAR_HEIGHT, "height": BAR_HEIGHT, "aria-hidden": "true"}
    return element("svg", attributes, _rect(0, 0, BAR_HEIGHT, BAR_HEIGHT, at))


def _rect(x: float | str, y: float, width: float | str, height: float, kind: int) -> Html:
    place = {"x": _short(x), "y": _short(y), "width": _short(width), "height": _short(height)}
    return element("rect", {**place, "fill": f"url(#kind{kind})", "class": "bar"})


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def bar(parts: Sequence[int], whole: int) -> Html:
    """Return a horizontal bar of several kinds, as long as their share of a whole; the numbers stand beside it."""
    rects, at = [], 0
    for kind, part in enumerate(parts):
        if part and whole:
            rects.append(_rect(_percent(at, whole), 0, _percent(part, whole), BAR_HEIGHT, kind))
        at += part
    return element("svg", {"class": "share", "height": BAR_HEIGHT, "aria-hidden": "true"}, *rects)


def pair(limit: int, use: int | None, suggested: int | None) -> Html:
    """Return a limit above its use, with a line at the suggested limit."""
    whole = max(limit, use or 0, suggested or 0)
    rects = [_rect(0, 0, _percent(limit, whole), 8, 0), _rect(0, 9, _percent(use or 0, whole), 8, 1)]
    if suggested is not None and whole:
        x = _percent(min(suggested * 995, whole * 995), whole * 1000)
        rects.append(element("line", {"x1": x, "x2": x, "y1": 0, "y2": 18, "class": "mark"}))
    return element("svg", {"class": "share", "height": 18, "aria-hidden": "true"}, *rects)


def _percent(part: int, whole: int) -> str:
    return f"{part * 100 / whole:.2f}%" if whole else "0%"


def over_time(chart: Bars, label: str) -> Html:
    """Return kills over time, stacked by kind, once for each size of screen."""
    return join(_over_time(chart, label, size) for size in SIZES)


def _over_time(chart: Bars, label: str, size: Size) -> Html:
    most = _rounded(max(bar.total for bar in chart.bars))
    plot = size.width - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    step = plot[0] / len(chart.bars)
    parts = [_text(LEFT - 5, 12, "kills", "end"), _text(size.width - RIGHT, HEIGHT - 4, "time (UTC)", "end")]
    for tick in sorted({most * at // TICKS for at in range(TICKS + 1)}):
        y = TOP + plot[1] * (1 - tick / most)
        ends: dict[str, str | int] = {"x1": LEFT, "x2": LEFT + plot[0], "y1": _short(y), "y2": _short(y)}
        parts.append(element("line", {**ends, "class": "grid"}))
        parts.append(_text(LEFT - 5, y + 4, f"{tick:,}", "end"))
    for at, each in enumerate(chart.bars):
        y = float(TOP + plot[1])
        for kind, count in enumerate(each.counts):
            if count:
                height = plot[1] * count / most
                y -= height
                parts.append(_rect(LEFT + at * step, y, step - min(1, step / 4), height, kind))
    every = max(1, -(-len(chart.bars) * LABEL // int(plot[0])))
    for at in range(0, len(chart.bars), every):
        x = LEFT + at * step
        if at and x + LABEL * 0.7 > size.width:
            break
        ends = {"x1": _short(x), "x2": _short(x), "y1": HEIGHT - BOTTOM, "y2": HEIGHT - BOTTOM + 5}
        parts.append(element("line", ends))
        parts.append(_text(x, HEIGHT - BOTTOM + 18, moment(chart.bars[at].begin, chart.width), "start"))
    view = f"0 0 {size.width} {HEIGHT}"
    return element("svg", {"viewBox": view, "role": "img", "class": f"time {size.kind}", "aria-label": label}, *parts)


def _text(x: float, y: float, text: str, anchor: str) -> Html:
    return element("text", {"x": _short(x), "y": _short(y), "text-anchor": anchor, "aria-hidden": "true"}, text)


def _rounded(most: int) -> int:
    """Return the top of the axis: a multiple of the ticks that is easy to read."""
    step = int(10 ** max(0, len(str(max(1, most))) - 2))
    return max(TICKS, -(-most // (TICKS * step)) * TICKS * step)


def moment(time: datetime, width: timedelta) -> str:
    """Return the beginning of a bar, as exactly as its width needs."""
    seconds = int(width.total_seconds())
    if seconds >= DAY:
        return f"{time:%Y-%m-%d}"
    return f"{time:%m-%d %H:%M:%S}" if seconds < MINUTE else f"{time:%m-%d %H:%M}"


def width_in_words(width: timedelta) -> str:
    """Return how long the stretch of time of a bar is."""
    seconds = int(width.total_seconds())
    for unit, name in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (1, "second")):
        if seconds >= unit:
            number = seconds // unit
            return f"{number:,} {name}s" if number > 1 else f"1 {name}"
    return "no time"
