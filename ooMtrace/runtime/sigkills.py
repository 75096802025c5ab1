# SPDX-License-Identifier: Apache-2.0
"""SIGKILLs from user space that wait for their line: behind all OOM kills, and in a bounded number."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from ooMtrace.enrich.sigkill import SigkillEnricher
from ooMtrace.record import Sigkill

SIGKILLS_PER_TURN = 16
"""Lines between two looks at OOM kills, at signals and at the output."""


class Source(Protocol):
    """Where SIGKILLs come from."""

    def sigkills(self) -> list[Sigkill]:
        """Return what has arrived, without waiting."""

    def lost(self) -> int:
        """Return how many were lost before they could be read."""


class Sigkills:
    """Lines of SIGKILLs, a few at a time.

    The kernel's buffer is read only when all that was read before has its line. So what is kept here is bounded by the
    size of the buffer, and a flood of SIGKILLs is lost there.

    Args:
        source: Where they come from.
        enrich: Adds the facts that user space knows.
    """

    def __init__(self, source: Source, enrich: SigkillEnricher) -> None:
        self._source = source
        self._enrich = enrich
        self._waiting: deque[Sigkill] = deque()
        self._dropped = 0
        self._announced = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def next_lines(self) -> Iterator[Sigkill]:
        """Yield some of what has arrived, without waiting."""
        if not self._waiting:
            self._waiting.extend(self._source.sigkills())
        for _ in range(min(SIGKILLS_PER_TURN, len(self._waiting))):
            yield self._enrich(self._waiting.popleft())

    def drain(self) -> Iterator[Sigkill]:
        """Yield all that waits and what has arrived by now."""
        self._waiting.extend(self._source.sigkills())
        while self._waiting:
            yield self._enrich(self._waiting.popleft())

    def mark_dropped(self) -> None:
        """Note that there was no room for a line."""
        self._dropped += 1

    def with_losses(self, sigkill: Sigkill) -> Sigkill:
        """Return a record with the number of those that got no line since the last one whose line was accepted."""
        count = self._lost() - self._announced
        return replace(sigkill, sigkill=replace(sigkill.sigkill, dropped_before=count)) if count else sigkill

    def accept(self, sigkill: Sigkill) -> None:
        """Note that the line of a record of `with_losses` was accepted: what it announces is not announced again."""
        self._announced += sigkill.sigkill.dropped_before or 0

    def _lost(self) -> int:
        return self._source.lost() + self._dropped
