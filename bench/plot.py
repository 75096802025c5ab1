# SPDX-License-Identifier: Apache-2.0
"""Line charts as SVG, for the documentation. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 50
COLOURS = ("#1f5fa8", "#c4501b", "#2e7d32", "#6a3d9a")
TICKS = 5


def chart(title: str, x_title: str, y_title: str, lines: Mapping[str, Points]) -> str:
    """Return a chart with a line for each name; both axes begin at 0."""
    x_ticks = ticks(max(x for points in lines.values() for x, _ in points))
    y_ticks = ticks(max(y for points in lines.values() for _, y in points))

    def x_of(x: float) -> float:
        return LEFT + x / x_ticks[-1] * (WIDTH - LEFT - RIGHT)

    def y_of(y: float) -> float:
        return HEIGHT - BOTTOM - y / y_ticks[-1] * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(WIDTH / 2, 20, title, size=15),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_title),
        f'<text x="15" y="{HEIGHT / 2:g}" text-anchor="middle" transform="rotate(-90 15 {HEIGHT / 2:g})">'
        f"{escape(y_title)}</text>",
    ]
    for tick in x_ticks:
        parts.append(_text(x_of(tick), HEIGHT - BOTTOM + 18, f"{tick:,.10g}"))
    for tick in y_ticks:
        y = y_of(tick)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{tick:,.10g}", anchor="end"))
    for index, (name, points) in enumerate(lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        places = [f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in sorted(points)]
        parts.append(f'<polyline points="{" ".join(places)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for place in places:
            x, y_place = place.split(",")
            parts.append(f'<circle cx="{x}" cy="{y_place}" r="3" fill="{colour}"/>')
        parts.append(_text(LEFT + 12, TOP + 6 + 16 * index, name, anchor="start", colour=colour))
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, *, anchor: str = "middle", size: int = 12, colour: str = "#222") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
    )


def ticks(largest: float) -> list[float]:
    """Return round numbers from 0 to the first that is not below the largest value."""
    if largest <= 0:
        return [0, 1]
    step = 10 ** math.floor(math.log10(largest / TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if step * factor * TICKS >= largest * (1 - 1e-9))
    return [step * n for n in range(math.ceil(largest / step - 1e-9) + 1)]
