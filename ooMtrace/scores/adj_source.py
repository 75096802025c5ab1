# SPDX-License-Identifier: Apache-2.0
"""Changes of oom_score_adj as they happen: the attached probe, and the values that processes had before."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ooMtrace.probe.loader import ADJ_CHANGES, Probe
from ooMtrace.scores.adj_change import AdjChange, decode_change
from ooMtrace.scores.processes import parse_start
from ooMtrace.sources.decoding import Decoding

SECOND_NS = 1_000_000_000

Values = dict[int, tuple[int, int]]
"""Pid -> when the process was started, in clock ticks since boot, and its oom_score_adj."""


class AdjSource:
    """Yields changes, with the value before each where it is known.

    The kernel side knows the value after the last change; until a process's first one, what /proc showed at the start
    holds. That is not used for a change from before /proc was read, nor after any change was missed.

    Args:
        probe: Attached; the caller closes it.
        warn: Takes one line about something that went wrong without being the end.
        values: Returns the values now, read from /proc.
        clock: CLOCK_MONOTONIC, nanoseconds.
    """

    def __init__(
        self,
        probe: Probe,
        warn: Callable[[str], None],
        values: Callable[[], Values],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._probe = probe
        self._decoding = Decoding(warn)
        self._values = values()
        self._read_at = clock()

    def changes(self) -> Iterator[AdjChange]:
        """Yield what has arrived, without waiting, in the order of time."""
        found = self._decoding.events(self._probe.read(), decode_change)
        for change in sorted(found, key=lambda change: change.ktime):
            yield self._with_value(change)

    def dropped(self) -> int:
        """Return how many changes were not reported since the probe was attached."""
        return self._probe.count(ADJ_CHANGES) + self._decoding.failed

    def _with_value(self, change: AdjChange) -> AdjChange:
        if change.dropped:
            self._values.clear()
        if change.target.pid is None:
            return change
        started, value = self._values.pop(change.target.pid, (None, None))
        if change.before is not None or change.started is None or change.ktime <= self._read_at:
            return change
        return replace(change, before=value) if started == _ticks(change.started) else change


def _ticks(nanoseconds: int) -> int:
    return nanoseconds // (SECOND_NS // os.sysconf("SC_CLK_TCK"))


def read_values(proc: Path = Path("/proc")) -> Values:
    """Return the oom_score_adj of all processes; one that exits meanwhile is left out."""
    found = {}
    for folder in proc.iterdir():
        if folder.name.isascii() and folder.name.isdecimal():
            try:
                started = parse_start((folder / "stat").read_bytes())
                found[int(folder.name)] = started, int((folder / "oom_score_adj").read_text())
            except (OSError, ValueError, IndexError):  # it has exited
                continue
    return found
