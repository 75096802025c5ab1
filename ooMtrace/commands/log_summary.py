# SPDX-License-Identifier: Apache-2.0
"""What `oomtrace logs` says at its end: how many kills, in which period, and what could not be read. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ooMtrace.commands.kill_filter import Choice
from ooMtrace.commands.log_file import STDIN, LogFile
from ooMtrace.commands.log_watch import LogWatch
from ooMtrace.kernel.snapshot import rfc3339
from ooMtrace.kmsg.formats import LogLine
from ooMtrace.record import OomKill, OomNoKill

CLOCK_HINT = "use dmesg -T or journalctl -k -o short-iso"
SECOND = 1_000_000_000
BOOT_MESSAGES_S = 60
"""A log whose first line is later than this begins in the middle of a boot."""


@dataclass(slots=True)
class LogSummary:
    """What all logs of a run have.

    Attributes:
        kills: How many kills were found.
        selected: How many of them the options selected.
        no_kills: How many OOMs without a kill were found.
        lines: How many kills and OOMs without a kill the options selected.
        unknown: How many were left out because the log does not state what an option asks for.
        first: The earliest time that a log has, RFC 3339.
        last: The latest.
        uptimes: Nanoseconds from boot to the first and to the last line, of a log that has no other times.
        clockless: Logs in which no clock time was found.
        names: The logs that could be read.
    """

    kills: int = 0
    selected: int = 0
    no_kills: int = 0
    lines: int = 0
    unknown: int = 0
    first: str | None = None
    last: str | None = None
    uptimes: tuple[int, int] | None = None
    clockless: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def add_choice(self, found: OomKill | OomNoKill, choice: Choice) -> None:
        """Count a kill or an OOM without a kill, and what the options make of it."""
        is_kill, is_selected = isinstance(found, OomKill), choice == "selected"
        self.kills += is_kill
        self.no_kills += not is_kill
        self.selected += is_kill and is_selected
        self.lines += is_selected
        self.unknown += choice == "unknown"

    def total(self) -> str:
        """Return how many were found."""
        return f"{self.kills} kills and {_without_kill(self.no_kills)}" if self.no_kills else f"{self.kills} kills"

    def add_time(self, time: str) -> None:
        """Extend the period to a time, RFC 3339 UTC with microseconds."""
        self.first = min(self.first or time, time)
        self.last = max(self.last or time, time)

    def add_log(self, log: LogFile, watch: LogWatch, *, booted: int | None, timed_kills: bool) -> None:
        """Add what a log covers.

        Args:
            log: A log that was recognized.
            watch: What was in it.
            booted: Nanoseconds from the epoch to the zero of the kernel's clock, if the log is of this boot.
            timed_kills: Whether a kill in it has a time.
        """
        self.names.append(log.shown)
        ends = [line for line in (watch.first, watch.last) if line is not None]
        times = [time for line in ends if (time := _time(line, booted)) is not None]
        for time in times:
            self.add_time(time)
        if not times and not timed_kills and watch.size:
            self.clockless.append(log.shown)
        stamps = [line.ktime for line in ends if line.ktime is not None and line.wall is None]
        self.uptimes = (stamps[0], stamps[-1]) if stamps else None

    def text(self, *, filtered: bool) -> str:
        """Return one line; `filtered`: options select among the kills."""
        where = self.names[0] if len(self.names) == 1 else _logs(len(self.names))
        found = f"{self.selected} of {_number(self.kills)}" if filtered else _number(self.kills)
        facts = ", ".join([f"{found} in {where}", *self._facts(filtered=filtered)])
        return f"{facts}; {CLOCK_HINT}" if self.clockless else facts

    def _facts(self, *, filtered: bool) -> Iterator[str]:
        if self.no_kills:
            found = _without_kill(self.no_kills)
            yield f"{self.lines - self.selected} of {found}" if filtered else found
        if self.first and self.last:
            yield f"period covered: {_short(self.first)} to {_short(self.last)}"
        if len(self.names) == 1 and self.uptimes:
            begin, end = (uptime / SECOND for uptime in self.uptimes)
            if self.clockless:
                yield f"period covered: {begin:.0f} s to {end:.0f} s after boot"
            if begin > BOOT_MESSAGES_S:
                yield "without earlier messages of that boot"
        if self.clockless:
            yield f"no clock times in {'this log' if len(self.names) == 1 else _logs(len(self.clockless))}"


def problem(log: LogFile, watch: LogWatch, kills: int) -> str | None:
    """Return why a log without kills cannot be trusted to have none, or why it could not be read; None: it can."""
    if log.error is not None:
        return str(log.error)
    if unrecognized := watch.coverage.unrecognized_kills:
        fact = f"{_lines(unrecognized)} but could not be read, such as {watch.coverage.examples[0].strip()!r}"
        return f"{log.shown}: {fact}; if the kernel wrote it, {CLOCK_HINT}"
    if kills:
        return None
    if watch.kill_marks:
        fact = f"{_lines(watch.kill_marks)} but none of the kernel's could be read, such as {watch.example!r}"
        return f"{log.shown}: {fact}; if the kernel wrote it, {CLOCK_HINT}"
    if watch.first is not None:
        return None
    if not watch.size:
        return (
            f"{log.shown}: empty; the kernel log of this host: oomtrace logs /dev/kmsg" if log.name == STDIN else None
        )
    fact = "no kernel messages recognized" if watch.is_text else "not text"
    return f"{log.shown}: {fact}; use kern.log, or the output of dmesg -T or journalctl -k -o short-iso"


def _lines(number: int) -> str:
    return "1 line looks like a kill" if number == 1 else f"{number} lines look like kills"


def _time(line: LogLine, booted: int | None) -> str | None:
    wall = line.wall
    if wall is None and line.ktime is not None and booted is not None:
        wall = booted + line.ktime
    try:
        return None if wall is None else rfc3339(wall)
    except OverflowError:  # damaged: the year does not exist
        return None


def _logs(number: int) -> str:
    return "1 log" if number == 1 else f"{number} logs"


def _number(kills: int) -> str:
    return "1 kill" if kills == 1 else f"{kills} kills"


def _without_kill(ooms: int) -> str:
    return "1 OOM without a kill" if ooms == 1 else f"{ooms} OOMs without a kill"


def _short(time: str) -> str:
    """Leave out the microseconds."""
    return f"{time.partition('.')[0].removesuffix('Z')}Z"
