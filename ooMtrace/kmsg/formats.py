# SPDX-License-Identifier: Apache-2.0
r"""From a line of a log to the kernel's text, its time and its caller, in the formats of the usual tools. Pure.

A format is a function from one line to a `LogLine`, or to None if the line is not the kernel's: other programs can
write to /dev/kmsg and to syslog, and their lines are marked (facility, tag).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ooMtrace.kmsg.dates import Dates, nanoseconds

KERNEL_FACILITY = 8
"""syslog(3): priorities below it are of facility 0, the kernel; a writer of /dev/kmsg cannot get that facility."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the kernel log.

    Attributes:
        ktime: The kernel's clock, nanoseconds since boot.
        wall: Nanoseconds since the epoch.
        guessed: The log's wall time lacks its year or zone, or dmesg computed it.
        caller: Who printed it: `T` and a thread id, or `C` and a CPU (CONFIG_PRINTK_CALLER).
        number: Its number among the lines that may be about a kill.
        nth: The ordinal, in this log, of the kill that it reports; 0: it reports none.
    """

    text: str
    ktime: int | None = None
    wall: int | None = None
    guessed: bool = False
    caller: str | None = None
    host: str | None = None
    boot_id: str | None = None
    number: int = 0
    nth: int = 0


Format = Callable[[str], "LogLine | None"]

STAMP = r"\[ *(?P<s>\d{1,10})\.(?P<us>\d{6})\](?: ?\[ *(?P<caller>[TC]\d{1,10})\])?"
LEVEL = r"(?:(?P<facility>[a-z]+\d?) *:(?P<level>[a-z]+) *: ?)?(?:<(?P<priority>\d{1,3})>)?"
OLD = r"(?P<month>[A-Z][a-z]{2}) (?P<day>[ \d]\d) (?P<clock>\d\d:\d\d:\d\d)(?:\.(?P<part>\d{1,9}))?"
ISO = r"(?P<iso>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,](?P<isopart>\d{1,9}))?(?P<zone>Z|[+-]\d\d:?\d\d)?"
COMMA = ISO.replace("[.,]", ",").replace(")?(?P<zone>", ")(?P<zone>")
FACILITY = r"(?:kern|user|daemon|syslog|local[0-9])\.[a-z]{3,7} "
"""As some syslogs print it before the tag."""

NAME = r"\S{1,255}"
"""A host's: NI_MAXHOST, more than the kernel's own 64."""

KMSG = re.compile(r"^(?P<priority>\d{1,10}),\d+,(?P<us>\d{1,18}),(?P<flags>[^;]*);(?P<text>.*)\Z", re.ASCII | re.DOTALL)
DMESG = re.compile(rf"^{LEVEL}{STAMP} ?(?P<text>.*)\Z", re.ASCII | re.DOTALL)
HUMAN = re.compile(
    rf"^{LEVEL}\[\S{{1,12}} +(?P<month>\S{{1,12}}) +(?P<day>\d{{1,2}}) (?P<clock>\d\d:\d\d:\d\d) (?P<year>\d{{4}})\]"
    r"(?: ?\[ *(?P<caller>[TC]\d{1,10})\])? ?(?P<text>.*)\Z",
    re.ASCII | re.DOTALL,
)
DMESG_ISO = re.compile(rf"^{LEVEL}{COMMA}(?: ?\[ *(?P<caller>[TC]\d{{1,10}})\])? (?P<text>.*)\Z", re.ASCII | re.DOTALL)
SYSLOG = re.compile(
    rf"^(?:<\d{{1,3}}>)?(?:{OLD}|{ISO}|(?P<unix>\d{{9,11}}\.\d{{6}})|\[ *(?P<mono>\d{{1,10}}\.\d{{6}})\]) "
    rf"(?P<host>(?!{FACILITY}){NAME}(?<!:)) kernel: ?(?:{STAMP} ?)?(?P<text>.*)\Z",
    re.ASCII | re.DOTALL,
)
ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


def parse_caller(text: str | None) -> str | None:
    """Return a caller without blanks; None if it is not one."""
    return text.strip() if text and re.fullmatch(r" *[TC][0-9]{1,10} *", text) else None


def kmsg(line: str) -> LogLine | None:
    r"""Read a record of /dev/kmsg (Documentation/ABI/testing/dev-kmsg), where unprintable bytes are `\xNN`."""
    found = KMSG.match(line)
    if not found or int(found["priority"]) >= KERNEL_FACILITY:
        return None
    text = ESCAPED.sub(lambda byte: chr(int(byte[1], 16)), found["text"])
    if text != found["text"]:
        text = text.encode("latin-1", "replace").decode("utf-8", "backslashreplace")
    caller = found["flags"].partition("caller=")[2].partition(",")[0]
    return LogLine(text, ktime=int(found["us"]) * 1000, caller=parse_caller(caller))


def dmesg(line: str) -> LogLine | None:
    """Read a line of dmesg, also with `--decode`, or of a console, with the level before it."""
    found = DMESG.match(line)
    return LogLine(found["text"], ktime=_ktime(found), caller=found["caller"]) if found and _is_kernels(found) else None


def _is_kernels(found: re.Match[str]) -> bool:
    return found["facility"] in (None, "kern") and int(found["priority"] or 0) < KERNEL_FACILITY


def _ktime(found: re.Match[str]) -> int | None:
    return None if found["s"] is None else int(found["s"]) * 1_000_000_000 + int(found["us"]) * 1000


class Dated:
    """Formats with dates.

    Args:
        latest: As in Dates.
    """

    def __init__(self, latest: datetime) -> None:
        self.dates = Dates(latest)

    def human(self, line: str) -> LogLine | None:
        """Read a line of `dmesg -T`; dmesg computes its times from the present clock, so they drift, without a zone."""
        found = HUMAN.match(line)
        if not found or not _is_kernels(found):
            return None
        wall = self.dates.local(int(found["year"]), found["month"], found["day"], found["clock"])
        return LogLine(found["text"], wall=wall, guessed=True, caller=found["caller"])

    def iso(self, line: str) -> LogLine | None:
        """Read a line of `dmesg --time-format iso`, which alone has a comma in its times."""
        found = DMESG_ISO.match(line)
        if not found or not _is_kernels(found):
            return None
        wall = self.dates.iso(found["iso"], found["isopart"], found["zone"])
        return LogLine(found["text"], wall=wall, guessed=found["zone"] is None, caller=found["caller"])

    def syslog(self, line: str) -> LogLine | None:
        """Read a line of syslog, with a traditional or RFC 3339 time stamp, or of a `journalctl -o short*` format."""
        found = SYSLOG.match(line)
        if not found:
            return None
        wall, guessed = self._wall(found)
        ktime = _ktime(found)
        if found["mono"] is not None:
            ktime = nanoseconds(found["mono"])
        return LogLine(found["text"], ktime, wall, guessed, found["caller"], found["host"])

    def _wall(self, found: re.Match[str]) -> tuple[int | None, bool]:
        if found["unix"] is not None:
            return nanoseconds(found["unix"]), False
        if found["iso"] is not None:
            return self.dates.iso(found["iso"], found["isopart"], found["zone"]), found["zone"] is None
        if found["month"] is None:
            return None, False
        return self.dates.yearless(found["month"], found["day"], found["clock"], found["part"] or ""), True
