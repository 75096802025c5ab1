# SPDX-License-Identifier: Apache-2.0
"""The tables of `oomtrace logs --summary`: how many kills by name, cgroup and day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ooMtrace.output.terminal import escape_control
from ooMtrace.record import OomKill, OomNoKill

MAX_KEYS = 10_000
"""Memory does not grow with the log, whatever names it has."""

MAX_ROWS = 30
UNKNOWN, OTHERS = "(not in the log)", "(others)"
DATE_LENGTH = len("2026-03-05")


class KillTable:
    """Counts kills."""

    def __init__(self) -> None:
        self._by: dict[str, Counter[str]] = {name: Counter() for name in ("process", "cgroup", "day (UTC)")}

    def add(self, kill: OomKill | OomNoKill) -> None:
        """Count a kill; an OOM without one is in no table."""
        if not isinstance(kill, OomKill):
            return
        for counter, known in zip(self._by.values(), _keys(kill), strict=True):
            key = known or UNKNOWN
            counter[key if key in counter or len(counter) < MAX_KEYS else OTHERS] += 1

    def text(self, heading: str) -> str:
        """Return the tables below a line that says what they are about."""
        lines = [escape_control(heading)]
        for name, counter in self._by.items():
            if counter:
                lines += ["", f"{'kills':>8}  {name}", *_rows(name, counter)]
        return "".join(f"{line}\n" for line in lines)


def _keys(kill: OomKill) -> tuple[str | None, str | None, str | None]:
    """Return name, cgroup and day; a victim's cgroup that is unknown is below the one whose limit was hit."""
    paths = (part.path for part in (kill.cgroup, kill.oom.group, kill.oom.memcg) if part is not None and part.path)
    return kill.process.comm, next(paths, None), kill.time and kill.time[:DATE_LENGTH]


def _rows(name: str, counter: Counter[str]) -> Iterator[str]:
    rows = sorted(counter.items(), reverse=True) if name.startswith("day") else counter.most_common()
    rest = sum(number for _, number in rows[MAX_ROWS:])
    for key, number in rows[:MAX_ROWS]:
        yield f"{number:8}  {escape_control(key)}"
    if rest:
        yield f"{rest:8}  in {len(rows) - MAX_ROWS} more"
