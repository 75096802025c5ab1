# SPDX-License-Identifier: Apache-2.0
"""Never silently zero: what has arrived, held against what the kernel has counted, and made up for from its log."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ooMtrace.kernel.snapshot import now, rfc3339
from ooMtrace.kmsg.boot_log import History, history
from ooMtrace.kmsg.device import KMSG, KernelLog
from ooMtrace.kmsg.to_record import Origin
from ooMtrace.reconcile.checkpoint import State
from ooMtrace.reconcile.ledger import Ledger
from ooMtrace.record import Host, Line, Lost, OomKill, OomLost
from ooMtrace.record import Source as Level

EVERY_NS = 1_000_000_000
"""From one look to the next while something dies."""

MOST_LOOKS = 60
"""So often a difference waits for a calm moment: the kernel log is long, and while it is read nothing else is."""

ATTEMPTS, BETWEEN_S = 50, 0.001
"""The kernel counts a moment before the probes do: two readings that agree are believed."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at both counters: the kernel's since boot, and the source's own; `steady`: nothing died meanwhile."""

    kernel: int
    source: int
    steady: bool


def oom_kills(proc: Path = Path("/proc")) -> int | None:
    """Return how many kills the kernel has counted since boot; None before Linux 4.13, which does not count."""
    try:
        found = re.search(r"^oom_kill (\d{1,18})$", (proc / "vmstat").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None


def this_boot(host: Host, proc: Path = Path("/proc"), kmsg: Path = KMSG) -> History | None:
    """Read the kernel log, and number its kills.

    Returns:
        None if the kernel does not count, or the log can't be read, or changes under our eyes whenever we look.
    """
    moment = now()
    origin = Origin(rfc3339(moment.realtime), host, moment.realtime - moment.monotonic)
    for _ in range(ATTEMPTS):
        counted = oom_kills(proc)
        if counted is None:
            return None
        try:
            with closing(KernelLog(kmsg)) as log:
                records = list(log.records())
        except OSError:
            return None
        if counted == oom_kills(proc) and not log.gaps:
            return history(records, origin, counted)
    return None


class Books:
    """Keeps account of the kills.

    Args:
        counted: Says how many kills the source has counted.
        host: The machine.
        level: The source's.
        since: What an earlier run has settled; what has died since then is made up for at the first look.
        proc, kmsg: Where the kernel's counter and log are.

    Attributes:
        base: How many kills the kernel had counted when the source began; None: it does not count.
    """

    def __init__(
        self,
        counted: Callable[[], int],
        host: Host,
        level: Level,
        since: State | None = None,
        *,
        proc: Path = Path("/proc"),
        kmsg: Path = KMSG,
    ) -> None:
        self._counted = counted
        self._host = host
        self._level = level
        self._proc = proc
        self._kmsg = kmsg
        first = self.read()
        self.base = first.kernel - first.source if first else None
        self._ledger = Ledger(self.base or 0)
        self._since = rfc3339(time.time_ns())
        self._due: int | None = None
        self._looks = 0
        self._before = -1
        if since is not None and self.base is not None:
            self._ledger = Ledger(min(since.settled(self._host.boot_id), self.base))
            self._since = since.time

    def arrived(self, counted: int, tid: int | None) -> None:
        """Note the how-manieth kill since the source began."""
        if self.base is not None:
            self._ledger.arrived(self.base + counted, tid)
            self._wake()

    def refused(self, line: Line) -> None:
        """Note that a line could not be put out."""
        if isinstance(line, OomLost):
            self._ledger.refused(None, line.lost.count)
        elif line.event == "oom_kill" and line.oom.number is not None:
            self._ledger.refused(line.oom.number)
        self._wake()

    def settled(self) -> State | None:
        """Return up to where every kill has arrived; None if the kernel does not count."""
        if self.base is None or self._host.boot_id is None:
            return None
        return State(self._host.boot_id, self._ledger.complete(), rfc3339(time.time_ns()))

    def next_due(self) -> int | None:
        """Return when to look next (CLOCK_MONOTONIC ns); None while nothing dies."""
        return self._due

    def _wake(self) -> None:
        if self._due is None:
            self._due = time.monotonic_ns() + EVERY_NS

    def read(self) -> Reading | None:
        """Read both counters at one moment; None if the kernel has none. What the source has by then is to be taken."""
        reading = None
        for _ in range(ATTEMPTS):
            source, kernel = self._counted(), oom_kills(self._proc)
            if kernel is None:
                return None
            if reading and (reading.kernel, reading.source) == (kernel, source):
                return Reading(kernel, source, steady=True)
            reading = Reading(kernel, source, steady=False)
            time.sleep(BETWEEN_S)
        return reading

    def look(self, reading: Reading, *, final: bool = False) -> Iterator[Line]:
        """Compare; yield what is made up for and what is lost.

        What is missing is looked for in the kernel log at once, for that forgets; and again before it is given up, at a
        calm moment or if it is the last one.
        """
        if reading.steady:  # what the probes have missed is behind us
            self.base = reading.kernel - reading.source
        calm, self._before = reading.kernel == self._before, reading.kernel
        self._due = None if calm else time.monotonic_ns() + EVERY_NS
        self._looks = self._looks + 1 if self._ledger.missing(reading.kernel) else 0
        if not self._looks or calm or final or self._looks > MOST_LOOKS:
            yield from self._settle(reading.kernel)
        elif self._looks == 1:
            yield from self._made_up(reading.kernel)

    def earlier(self) -> Iterator[Line]:
        """Yield what has died between an earlier run and this one."""
        if self.base is not None:
            yield from self._settle(self.base)

    def _settle(self, until: int) -> list[Line]:
        """Close the books; return what is made up for and what is lost."""
        lines: list[Line] = [*self._made_up(until)]
        moment = rfc3339(time.time_ns())
        if (count := self._ledger.missing(until)) > 0:
            lines.append(self._lost(until, count, moment))
        self._ledger.balance(until)
        self._since = moment
        self._looks = 0
        return lines

    def _made_up(self, until: int) -> list[OomKill]:
        """Return the kills that only the kernel log knows, and count them as arrived."""
        missing, balanced = self._ledger.missing(until), self._ledger.balanced
        log = this_boot(self._host, self._proc, self._kmsg) if missing > 0 else None
        if log is None:
            return []
        kills = [kill for kill in log.kills if balanced < (kill.oom.number or 0) <= until]
        found = self._ledger.unseen(kills, until, whole=log.before <= balanced)[-missing:]
        for number in log.again:
            if self._ledger.is_missing(number) and number <= until:
                self._ledger.arrived(number, None)
        self._ledger.made_up(kill.process.tid for kill in found)
        return found

    def _lost(self, until: int, count: int, to: str) -> OomLost:
        kills = "1 kill" if count == 1 else f"{count} kills"
        return OomLost(
            id=f"{(self._host.boot_id or self._host.name or 'host')[:8]}-lost-{until}-{count}",
            observed=to,
            message=f"{kills} of the kernel's OOM killer between {self._since} and {to} could not be seen",
            source=self._level,
            host=self._host,
            lost=Lost(count=count, from_=self._since, to=to),
        )
