# SPDX-License-Identifier: Apache-2.0
"""What kills come from, whatever it is: the probes (traced.py) or the kernel log (logged.py)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ooMtrace.record import OomKill


class Arrivals(Protocol):
    """Keeps account of the kills that have arrived.

    Attributes:
        base: How many kills the kernel had counted when the source began; None: it does not count.
    """

    base: int | None

    def arrived(self, counted: int, tid: int | None) -> None:
        """Note the how-manieth kill since the source began; without a thread if it has no line of its own."""


class Source(Protocol):
    """Tells of kills as they happen."""

    def fds(self) -> list[int]:
        """Return the file descriptors that become readable when something dies."""

    def next_due(self) -> int | None:
        """Return when a line has waited long enough (CLOCK_MONOTONIC ns); None if none waits."""

    def kills(self, arrivals: Arrivals) -> Iterator[OomKill]:
        """Yield what is ready, without waiting."""

    def rest(self, arrivals: Arrivals) -> Iterator[OomKill]:
        """Yield all that has arrived and all that still waits: nothing more will come."""

    def counted(self) -> int:
        """Return how many kills the kernel has counted since the source began, as far as can be seen here."""

    def take_lost(self) -> int:
        """Return how many records were lost since the last call."""

    def close(self) -> None:
        """Let go of it."""
