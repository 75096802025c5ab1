# SPDX-License-Identifier: Apache-2.0
"""Which of the kills that the kernel has counted have arrived here. Pure.

Kills have the numbers that the kernel's own counter gives them, oom_kill in /proc/vmstat: count_vm_event() in
__oom_kill_process() (mm/oom_kill.c), from Linux 4.13 on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ooMtrace.record import OomKill


class Ledger:
    """The numbers since the last balance.

    Attributes:
        balanced: Every kill up to this number has arrived, or has been given up.
    """

    def __init__(self, balanced: int) -> None:
        self.balanced = balanced
        self._tids: dict[int, int | None] = {}
        self._refused = 0

    def arrived(self, number: int, tid: int | None) -> None:
        """Note a kill; without a thread if it has no line of its own: it came to a victim for the second time."""
        if number > self.balanced:
            self._tids[number] = tid

    def refused(self, number: int | None, count: int = 1) -> None:
        """Note that a line did not come out: its kills are missing again."""
        if number is None or self._tids.pop(number, None) is None:
            self._refused += count

    def missing(self, until: int) -> int:
        """Return how many kills up to this number have not arrived."""
        return until - self.balanced - sum(number <= until for number in self._tids) + self._refused

    def is_missing(self, number: int) -> bool:
        """Say whether this kill has not arrived."""
        return number > self.balanced and number not in self._tids

    def made_up(self, tids: Iterable[int | None]) -> None:
        """Note kills that have arrived by another way, in place of the first that are missing."""
        number = self.balanced
        for tid in tids:
            number += 1
            while number in self._tids:
                number += 1
            self._tids[number] = tid

    def complete(self) -> int:
        """Return the number up to which none is missing."""
        number = self.balanced
        while not self._refused and number + 1 in self._tids:
            number += 1
        return number

    def balance(self, until: int) -> None:
        """Close the books up to a number: what is missing there will not come any more."""
        self.balanced = max(self.balanced, until)
        self._tids = {number: tid for number, tid in self._tids.items() if number > until}
        self._refused = 0

    def unseen(self, logged: Iterable[OomKill], until: int, *, whole: bool) -> list[OomKill]:
        """Return those of the kernel log's kills that have not arrived.

        They are told by their threads, for a number may be off by what the probes have missed.

        Args:
            logged: All that the log has since the last balance, up to a number.
            until: That number.
            whole: Whether it goes back that far. Then all that has arrived must be there, or the two don't belong
                together, and none is returned.
        """
        seen = Counter(tid for number, tid in self._tids.items() if tid is not None and number <= until)
        new = []
        for kill in logged:
            if seen[kill.process.tid or 0] > 0:
                seen[kill.process.tid or 0] -= 1
            else:
                new.append(kill)
        return [] if whole and seen.total() else new
