# SPDX-License-Identifier: Apache-2.0
"""One output among several: what it sends, its queue, and what it had no room for."""

from __future__ import annotations

from dataclasses import replace

from ooMtrace.output.lines import Lines, Render
from ooMtrace.output.queue import Queue


class Channel:
    """Puts lines into a queue and announces, in the first line that finds room again, how many did not.

    Args:
        queue: In front of the output.
        render: Makes what the output sends.
        carries_lines: Whether it passes lines on: metrics do not.

    Attributes:
        queue: The same.
        carries_lines: The same.
        dropped: How many lines found no room, or were refused, and are not announced yet.
        total_dropped: How many since the start.
        is_late: The output did not take all that was left within an earlier `drain`.
        is_failed: No more can ever be written.
    """

    def __init__(self, queue: Queue, render: Render, *, carries_lines: bool = True) -> None:
        self.queue = queue
        self.carries_lines = carries_lines
        self.dropped = self.total_dropped = 0
        self.is_late = self.is_failed = False
        self._render = render

    @property
    def empty(self) -> bool:
        """Whether all lines that it took are written."""
        return not self.queue.held

    @property
    def unwritten(self) -> int:
        """The number of lines that it did not write and has not announced."""
        self._count_refused()
        return self.queue.held + self.dropped

    def offer(self, lines: Lines) -> bool:
        """Queue a line; return False if there is no room for it."""
        self._count_refused()
        if self.dropped:
            lines = Lines(replace(lines.record, output_dropped_before=self.dropped))
        if not self.queue.put(self._render(lines)):
            return False
        self.dropped = 0
        return True

    def drop(self) -> None:
        """Count a line that found no room here, and has gone to another output."""
        self.dropped += 1
        self.total_dropped += 1

    def _count_refused(self) -> None:
        refused = self.queue.take_refused()
        self.dropped += refused
        self.total_dropped += refused
