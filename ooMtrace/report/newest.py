# SPDX-License-Identifier: Apache-2.0
"""The newest incidents, with their lines, in bounded memory. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ooMtrace.explain.story import explain
from ooMtrace.output.encode import dump_line, load

MOST = 100
MOST_LINES = 3
"""Of one incident that are explained; the other victims are counted."""

LONGEST = 1 << 15
"""Bytes of a line that is kept to be explained later; a longer one, which no oomtrace writes, is explained at once."""

EARLIEST = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(slots=True)
class Incident:
    """One run of the OOM killer, or another event.

    Attributes:
        time: That of its first line; None if not known.
        title: What happened, in a few words.
        kept: Of its first lines, the line in JSON and what its cause had killed before, or the explanation.
        lines: How many it has.
    """

    time: datetime | None
    title: str
    kept: list[tuple[bytes, str] | str] = field(default_factory=list)
    lines: int = 0

    def texts(self) -> list[str]:
        """Explain its first lines."""
        return [one if isinstance(one, str) else explain(load(one[0]), earlier=one[1]) for one in self.kept]


def _packed(line: Mapping[str, Any], earlier: str) -> tuple[bytes, str] | str:
    try:
        data = dump_line(line)
    except TypeError:  # objects in objects, deeper than orjson writes (but reads) them
        return explain(line, earlier=earlier)
    return (data, earlier) if len(data) <= LONGEST else explain(line, earlier=earlier)


class Newest:
    """Keeps the newest incidents; those without a time only as long as there is room.

    Args:
        most: How many.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._heap: list[tuple[datetime, int, str]] = []
        self._incidents: dict[str, Incident] = {}
        self._order = 0

    def add(self, key: str, time: datetime | None, title: str, line: Mapping[str, Any], earlier: str) -> None:
        """Keep a line, if its incident is one of the newest."""
        incident = self._incidents.get(key)
        if incident is None:
            incident = self._new(key, time, title)
        if incident is None:
            return
        incident.lines += 1
        if len(incident.kept) < MOST_LINES:
            incident.kept.append(_packed(line, earlier))

    def _new(self, key: str, time: datetime | None, title: str) -> Incident | None:
        self._order += 1
        entry = (time or EARLIEST, self._order, key)
        if len(self._heap) >= self._most:
            if entry <= self._heap[0]:
                return None
            del self._incidents[heapq.heapreplace(self._heap, entry)[2]]
        else:
            heapq.heappush(self._heap, entry)
        return self._incidents.setdefault(key, Incident(time, title))

    def incidents(self) -> list[Incident]:
        """Return them, the newest first."""
        return [self._incidents[key] for _, _, key in sorted(self._heap, reverse=True)]
