# SPDX-License-Identifier: Apache-2.0
"""Which of the kills that the kernel has counted have been delivered here. Pure.

A kill's ordinal is what the kernel's own counter says with it: oom_kill in /proc/vmstat, count_vm_event() in
__oom_kill_process() (mm/oom_kill.c), from Linux 4.13 on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ooMtrace.record import OomKill


class Ledger:
    """The kills since the ledger was last closed, by ordinal.

    Attributes:
        closed: Every kill up to this ordinal has been delivered, backfilled or reported as lost.
        closed_tid: The thread that was killed then; None: not known.
    """

    def __init__(self, closed: int) -> None:
        self.closed = closed
        self.closed_tid: int | None = None
        self._tids: dict[int, int | None] = {}
        self._dropped = 0

    def record_delivery(self, ordinal: int, tid: int | None) -> None:
        """Note that a kill was delivered; `tid` is None where it is not known, or where the kill has no line."""
        if ordinal > self.closed:
            self._tids[ordinal] = tid

    def mark_dropped(self, ordinal: int | None, count: int = 1) -> None:
        """Note that the output has dropped a line: its kills are pending again."""
        if ordinal in self._tids:
            del self._tids[ordinal]
        else:
            self._dropped += count

    def tids(self) -> Counter[int | None]:
        """Return how many kills of each thread have been delivered."""
        return Counter(self._tids.values())

    def missing(self, until: int) -> int:
        """Return how many kills up to this ordinal have not been delivered."""
        return until - self.closed - sum(ordinal <= until for ordinal in self._tids) + self._dropped

    def is_missing(self, ordinal: int) -> bool:
        """Say whether this kill has not been delivered."""
        return ordinal > self.closed and ordinal not in self._tids

    def mark_backfilled(self, tids: Iterable[int | None]) -> None:
        """Note kills that were read from the kernel log, in place of the first that are missing."""
        ordinal = self.closed
        for tid in tids:
            ordinal += 1
            while ordinal in self._tids:
                ordinal += 1
            self._tids[ordinal] = tid

    def complete(self) -> int:
        """Return the ordinal up to which none is missing."""
        ordinal = self.closed
        while not self._dropped and ordinal + 1 in self._tids:
            ordinal += 1
        return ordinal

    def close(self, until: int) -> None:
        """Close the ledger up to an ordinal: what is missing there is lost."""
        if until > self.closed:
            self.closed, self.closed_tid = until, self._tids.get(until)
        self._tids = {ordinal: tid for ordinal, tid in self._tids.items() if ordinal > until}
        self._dropped = 0

    def undelivered(self, logged: Iterable[OomKill], until: int, *, whole: bool) -> list[OomKill]:
        """Return those of the kernel log's kills that have not been delivered.

        They are matched by thread, for an ordinal may be off by the kills that the probes have missed.

        Args:
            logged: All kills that the log has since the ledger was closed, up to an ordinal.
            until: That ordinal.
            whole: Whether the log goes back that far. Then everything delivered must be in it, or log and ledger do
                not belong together, and nothing is returned.
        """
        delivered: Counter[int | None] = Counter(
            tid for ordinal, tid in self._tids.items() if tid is not None and ordinal <= until
        )
        new = []
        for kill in logged:
            if delivered[kill.process.tid] > 0:
                delivered[kill.process.tid] -= 1
            else:
                new.append(kill)
        return [] if whole and delivered.total() else new
