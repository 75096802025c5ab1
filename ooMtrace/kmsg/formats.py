# SPDX-License-Identifier: Apache-2.0
r"""From a line of a log to the kernel's text, its time and its caller; the format is detected. Pure.

A format is a function from one line to a `LogLine`, or to None if the line is not the kernel's: other programs can
write to /dev/kmsg and the journal, and their lines are marked (facility, _TRANSPORT).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
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
        number: Its number among the lines parsed, where it has no time.
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
NAME = r"\S{1,255}"
"""A host's: NI_MAXHOST, more than the kernel's own 64."""

KMSG = re.compile(r"^(?P<priority>\d{1,10}),\d+,(?P<us>\d{1,18}),(?P<flags>[^;]*);(?P<text>.*)\Z", re.DOTALL)
DMESG = re.compile(rf"^{LEVEL}{STAMP} ?(?P<text>.*)\Z", re.DOTALL)
HUMAN = re.compile(
    rf"^{LEVEL}\[\w+ (?P<month>\w+) +(?P<day>\d{{1,2}}) (?P<clock>\d\d:\d\d:\d\d) (?P<year>\d{{4}})\]"
    r"(?: ?\[ *(?P<caller>[TC]\d{1,10})\])? ?(?P<text>.*)\Z",
    re.DOTALL,
)
DMESG_ISO = re.compile(rf"^{LEVEL}{ISO}(?: ?\[ *(?P<caller>[TC]\d{{1,10}})\])? (?P<text>.*)\Z", re.DOTALL)
SYSLOG = re.compile(
    rf"^(?:<\d{{1,3}}>)?(?:{OLD}|{ISO}|(?P<unix>\d{{9,11}}\.\d{{6}})|\[ *(?P<mono>\d{{1,10}}\.\d{{6}})\]) "
    rf"(?P<host>{NAME}) kernel: ?(?:{STAMP} ?)?(?P<text>.*)\Z",
    re.DOTALL,
)
ANY_SYSLOG = re.compile(
    rf"^(?:<\d{{1,3}}>)?(?:{OLD}|{ISO}|\d{{9,11}}\.\d{{6}}|\[ *\d+\.\d{{6}}\]) \S+ [^\s:]+: ", re.DOTALL
)
"""A line of syslog by any program."""

ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
PAIR = re.compile(r'(?<!\\)"((?:[^"\\]|\\.)*)"\s*:\s*(?:"((?:[^"\\]|\\.)*)"|\[([\d,\s]*)\]|([\d.]+))', re.DOTALL)
"""A quote after a backslash begins no string: trying at each of them would take quadratic time."""

JSON_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
JSON_SHORT = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


class Json:
    """`journalctl -o json`, and `dmesg --json`, which prints a record on several lines, its time before its text.

    Attributes:
        multiline: Whether such a record was seen: then no line can be skipped.
    """

    def __init__(self) -> None:
        self.multiline = False
        self._time: str | None = None
        self._caller: str | None = None

    def __call__(self, line: str) -> LogLine | None:
        """Read the pairs of this line: they are few and flat, and a truncated line still has its first ones."""
        pairs = {found[1]: _value(found) for found in PAIR.finditer(line)}
        if "MESSAGE" in pairs:
            return _journal(pairs)
        self._time, self._caller = pairs.get("time", self._time), pairs.get("caller", self._caller)
        self.multiline |= "time" in pairs
        if "msg" not in pairs:
            return None
        time, caller = self._time, self._caller
        self._time = self._caller = None
        return LogLine(pairs["msg"], ktime=_nanoseconds(time), caller=_caller(caller))


def _value(found: re.Match[str]) -> str:
    if found[3] is not None:  # not UTF-8: the journal lists the bytes
        return bytes(int(byte) & 0xFF for byte in re.findall(r"\d{1,3}", found[3])).decode("utf-8", "backslashreplace")
    return _unescaped(found[2]) if found[2] is not None else found[4]


def _unescaped(text: str) -> str:
    def character(found: re.Match[str]) -> str:
        return chr(int(found[1], 16)) if found[1] else JSON_SHORT.get(found[2], found[2])

    plain = JSON_ESCAPE.sub(character, text)  # a character beyond 16 bits is two surrogates now
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "backslashreplace")


def _journal(pairs: dict[str, str]) -> LogLine | None:
    if pairs.get("_TRANSPORT", "kernel") != "kernel":
        return None
    received, monotonic = _integer(pairs.get("__REALTIME_TIMESTAMP")), _integer(pairs.get("__MONOTONIC_TIMESTAMP"))
    ktime = _integer(pairs.get("_SOURCE_MONOTONIC_TIMESTAMP"))
    wall = received
    if received is not None and monotonic is not None and ktime is not None:  # journald may have read it late
        wall = received - max(monotonic - ktime, 0)
    host = re.fullmatch(NAME, pairs.get("_HOSTNAME", ""))
    boot = re.fullmatch(r"(.{8})(.{4})(.{4})(.{4})(.{12})", pairs.get("_BOOT_ID", ""))
    return LogLine(
        pairs["MESSAGE"],
        ktime=None if ktime is None else ktime * 1000,
        wall=None if wall is None else wall * 1000,
        host=host and host[0],
        boot_id=boot and "-".join(boot.groups()),
    )


def _integer(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,18}", text) else None


def _caller(text: str | None) -> str | None:
    return text.strip() if text and re.fullmatch(r" *[TC]\d{1,10} *", text) else None


def kmsg(line: str) -> LogLine | None:
    r"""Read a record of /dev/kmsg (Documentation/ABI/testing/dev-kmsg), where unprintable bytes are `\xNN`."""
    found = KMSG.match(line)
    if not found or int(found["priority"]) >= KERNEL_FACILITY:
        return None
    text = ESCAPED.sub(lambda byte: chr(int(byte[1], 16)), found["text"])
    if text != found["text"]:
        text = text.encode("latin-1", "replace").decode("utf-8", "backslashreplace")
    caller = found["flags"].partition("caller=")[2].partition(",")[0]
    return LogLine(text, ktime=int(found["us"]) * 1000, caller=_caller(caller))


def dmesg(line: str) -> LogLine | None:
    """Read a line of dmesg, also with `--decode`, or of a console, with the level before it."""
    found = DMESG.match(line)
    return LogLine(found["text"], ktime=_ktime(found), caller=found["caller"]) if found and _is_kernels(found) else None


def _is_kernels(found: re.Match[str]) -> bool:
    return found["facility"] in (None, "kern") and int(found["priority"] or 0) < KERNEL_FACILITY


def _ktime(found: re.Match[str]) -> int | None:
    return None if found["s"] is None else int(found["s"]) * 1_000_000_000 + int(found["us"]) * 1000


def bare(line: str) -> LogLine | None:
    """Read a line without a time, as from `dmesg -t` or a bug report."""
    return None if ANY_SYSLOG.match(line) else LogLine(line.removeprefix("kernel: "))


class Dated:
    """Formats whose dates lack a year or a zone.

    Args:
        latest: No line is later; dates without a year get one from it, and dates without a zone its zone.
    """

    def __init__(self, latest: datetime) -> None:
        self._latest = latest
        self._end = _since_epoch(latest)

    def human(self, line: str) -> LogLine | None:
        """Read a line of `dmesg -T`; dmesg computes its times from the present clock, so they drift, without a zone."""
        found = HUMAN.match(line)
        if not found or not _is_kernels(found):
            return None
        wall = self._local(int(found["year"]), found["month"], found["day"], found["clock"])
        return LogLine(found["text"], wall=wall, guessed=True, caller=found["caller"])

    def iso(self, line: str) -> LogLine | None:
        """Read a line of `dmesg --time-format iso`."""
        found = DMESG_ISO.match(line)
        if not found or not _is_kernels(found):
            return None
        return LogLine(found["text"], wall=self._iso(found), guessed=found["zone"] is None, caller=found["caller"])

    def syslog(self, line: str) -> LogLine | None:
        """Read a line of syslog, with a traditional or RFC 3339 time stamp, or of a `journalctl -o short*` format."""
        found = SYSLOG.match(line)
        if not found:
            return None
        wall, guessed = self._wall(found)
        ktime = _ktime(found)
        if found["mono"] is not None:
            ktime = _nanoseconds(found["mono"])
        return LogLine(found["text"], ktime, wall, guessed, found["caller"], found["host"])

    def _wall(self, found: re.Match[str]) -> tuple[int | None, bool]:
        if found["unix"] is not None:
            return _nanoseconds(found["unix"]), False
        if found["iso"] is not None:
            return self._iso(found), found["zone"] is None
        if found["month"] is None:
            return None, False
        return self._yearless(found), True

    def _yearless(self, found: re.Match[str]) -> int | None:
        """Use the latest year that does not make it a future time; 29 February may be up to eight years back."""
        for year in range(self._latest.year, self._latest.year - 9, -1):
            wall = self._local(year, found["month"], found["day"], found["clock"], found["part"] or "")
            if wall is not None and wall <= self._end:
                return wall
        return None

    def _local(self, year: int, month: str, day: str, clock: str, part: str = "") -> int | None:
        if month not in MONTHS:  # another language
            return None
        return self._instant(f"{year:04}-{MONTHS.index(month) + 1:02}-{int(day):02}T{clock}", part)

    def _iso(self, found: re.Match[str]) -> int | None:
        zone = (found["zone"] or "").replace("Z", "+00:00")
        zone = zone if ":" in zone or not zone else f"{zone[:3]}:{zone[3:]}"
        return self._instant(found["iso"].replace(" ", "T") + zone, found["isopart"] or "")

    def _instant(self, text: str, part: str) -> int | None:
        try:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=self._latest.tzinfo)
            return _since_epoch(moment) + int(part.ljust(9, "0"))
        except (ValueError, OverflowError):  # no such day
            return None


def _since_epoch(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def _nanoseconds(seconds: str | None) -> int | None:
    found = re.fullmatch(r"(\d{1,12})\.(\d{6})", seconds or "")
    return int(found[1]) * 1_000_000_000 + int(found[2]) * 1000 if found else None


def formats(latest: datetime) -> tuple[Format, ...]:
    """Return all formats, the most specific first; `latest` as in Dated."""
    dated = Dated(latest)
    return (Json(), kmsg, dated.syslog, dated.human, dmesg, dated.iso, bare)


def detect(sample: Iterable[str], known: Sequence[Format]) -> Format:
    """Return the format that most lines match, the first of equals; the last one if no line matches another."""
    votes = [0] * len(known)
    for line in sample:
        for i, form in enumerate(known):
            if form(line) is not None:
                votes[i] += 1
                break
    best = max(votes[:-1])
    return known[votes.index(best)] if best else known[-1]
