# SPDX-License-Identifier: Apache-2.0
"""What each piece of a prefix states of its line. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ooMtrace.kmsg import pieces
from ooMtrace.kmsg.dates import Dates, nanoseconds
from ooMtrace.kmsg.formats import KERNEL_FACILITY, LogLine

MONTHS_IN_YEAR = 12
NOON = 12

CLOSED = re.compile(r"[\"'`|*<]|\[[0-9;]*m")
HOST_LABEL = re.compile(r'(?:host|hostname|node|instance|nodename)="([^"]{1,255})"')
NO_HOST = re.compile(
    r".*\.(?:log|txt|gz|xz|out)|.*/.*|l?[0-9]+|re|fwd|aw|dmesg|kmsg|console|login|log|output|std(?:out|err)",
    re.IGNORECASE,
)
"""Files, numbers of lines, and what else people and tools write before a colon."""


@dataclass(slots=True)
class Facts:
    """What the pieces so far state.

    Attributes:
        line: What is known of the line.
        dated: After a clock, which a host and a tag follow.
        certain: The line has what only the kernel's lines have.
        program: A program wrote it.
        bracketed: After a date in brackets, as dmesg prints it.
        closed: Something may stand behind the text that belongs to the decoration.
    """

    line: LogLine
    dated: bool = False
    certain: bool = False
    program: bool = False
    bracketed: bool = False
    closed: bool = False


def _decoration(facts: Facts, found: re.Match[str], _dates: Dates) -> bool:
    if facts.certain:
        return False
    facts.closed |= bool(CLOSED.search(found[0]))
    return not facts.dated


def _caller(facts: Facts, found: re.Match[str], _dates: Dates) -> bool:
    facts.closed |= facts.certain and bool(CLOSED.search(found[0]))
    return facts.certain


def _priority(facts: Facts, found: re.Match[str], _: Dates) -> bool:
    syslog = found["version"] is not None or found["next"] is not None
    facts.program |= not (syslog or facts.dated or facts.certain) and int(found["priority"]) >= KERNEL_FACILITY
    return True


def _level(facts: Facts, found: re.Match[str], _: Dates) -> bool:
    facts.program |= found["facility"] != "kern"
    return True


def _facility(facts: Facts, found: re.Match[str], _: Dates) -> bool:
    facts.program |= int(found["number"]) != 0
    return True


def _undated(facts: Facts, _: re.Match[str], _dates: Dates) -> bool:
    return not facts.dated and not facts.certain


def _uncertain(facts: Facts, _: re.Match[str], _dates: Dates) -> bool:
    return facts.dated and not facts.certain


def _named(found: re.Match[str], name: str) -> str | None:
    return found[name] if name in found.re.groupindex else None


def _clock(facts: Facts, found: re.Match[str], dates: Dates) -> bool:
    """Read a time that is not the kernel's; of several the one nearest to the text counts, if it is as precise."""
    if facts.certain:
        return False
    wall, guessed = _wall(found, dates)
    old = facts.line
    if wall is not None and (old.wall is None or old.guessed or not guessed):
        facts.line = replace(old, wall=wall, guessed=guessed)
    facts.dated = True
    facts.certain |= found[0].startswith("type=KERNEL")
    return True


def _wall(found: re.Match[str], dates: Dates) -> tuple[int | None, bool]:
    part = _named(found, "part") or ""
    if unix := _named(found, "unix"):
        seconds, _, part = unix.partition(".")
        return nanoseconds(f"{seconds}.{part or _named(found, 'ms') or '000'}"), False
    name = (_named(found, "zone") or "").strip()
    zone = "Z" if name in ("UTC", "GMT") else name if name[:1] in ("Z", "+", "-") else None
    if iso := _named(found, "iso"):
        return dates.iso(iso, part, zone), zone is None
    if _named(found, "first"):
        return _numbers(found, dates), True
    if year := _named(found, "year"):
        return dates.local(int(year), found["month"], found["day"], found["clock"], part, zone), zone is None
    clock = found["clock"] if len(found["clock"]) == len("hh:mm:ss") else f"{found['clock']}:00"
    return dates.yearless(found["month"], found["day"], clock, part, zone), True


def _numbers(found: re.Match[str], dates: Dates) -> int | None:
    """Read a date in numbers; with slashes either of day and month may come first: then it is unknown."""
    first, second, hour = int(found["first"]), int(found["second"]), int(found["clock"][:2])
    if found["year"] is None or (found["mark"] == "/" and max(first, second) <= MONTHS_IN_YEAR):
        return None
    day, month = (second, first) if second > MONTHS_IN_YEAR else (first, second)
    if half := (found["half"] or "").strip():
        hour = hour % NOON + NOON * (half == "PM")
    clock = f"{hour:02}{found['clock'][2:]}"
    return dates.local(int(found["year"]), str(month), str(day), clock, found["part"] or "")


def _clock_only(facts: Facts, _: re.Match[str], _dates: Dates) -> bool:
    if facts.certain:
        return False
    facts.dated = True
    return True


def _own_clock(facts: Facts, found: re.Match[str], dates: Dates) -> bool:
    """Read a time in brackets, as dmesg prints it: the kernel's line."""
    return _clock(facts, found, dates) and _certain(facts, found, dates)


def _bracketed(facts: Facts, found: re.Match[str], dates: Dates) -> bool:
    """Read a date in brackets, as dmesg prints it, but others, too, before a whole line of a log."""
    dated = facts.dated
    if not _clock(facts, found, dates):
        return False
    facts.dated, facts.bracketed = dated, True
    return True


def _certain(facts: Facts, _: re.Match[str], _dates: Dates) -> bool:
    facts.certain = True
    return True


def _tag(facts: Facts, found: re.Match[str], _: Dates) -> bool:
    """Read the kernel's tag; what follows the kernel's own stamp or another tag is text that somebody may have made."""
    if facts.certain and (found["host"] is not None or facts.line.ktime is not None):
        return False
    host = found["host"] if found["host"] != "-" else None
    facts.line = replace(facts.line, host=host or facts.line.host)
    facts.certain = True
    return True


def _stamp(facts: Facts, found: re.Match[str], _: Dates) -> bool:
    if facts.line.ktime is not None:
        return False
    ktime = int(found["s"]) * 1_000_000_000 + int(found["us"].ljust(9, "0"))
    facts.line = replace(facts.line, ktime=ktime, caller=_named(found, "caller") or facts.line.caller)
    facts.certain = True
    return True


def _caller_only(facts: Facts, found: re.Match[str], dates: Dates) -> bool:
    if facts.dated or facts.certain:
        return False
    facts.line = replace(facts.line, caller=found["caller"])
    return _certain(facts, found, dates)


def _journal_stamp(facts: Facts, found: re.Match[str], dates: Dates) -> bool:
    """Read what `journalctl -o short-delta` prints: a host and a tag follow."""
    if facts.certain or facts.dated:
        return False
    _stamp(facts, found, dates)
    facts.line, facts.certain, facts.dated = facts.line, False, True
    return True


def _android(facts: Facts, found: re.Match[str], dates: Dates) -> bool:
    facts.program |= found["tag"] not in ("kernel", "vmunix")
    if found["clock"] is not None and not _clock(facts, found, dates):
        return False
    return _certain(facts, found, dates)


def _host(facts: Facts, found: re.Match[str], _: Dates) -> bool:
    """Read the host of a line without a tag, or of the machine that forwarded the line whose date follows."""
    if not facts.dated or facts.certain:
        return False
    facts.line = replace(facts.line, host=found["host"])
    return True


def _relay(facts: Facts, found: re.Match[str], dates: Dates) -> bool:
    """Read the host of a line without a tag, as netconsole's are; a line with another tag is a program's.

    Only an address is a host before any text: anybody can send text without a tag to the local syslog, which adds its
    name.
    """
    return _host(facts, found, dates) and _certain(facts, found, dates)


def _sender(facts: Facts, found: re.Match[str], _: Dates) -> bool:
    """Read the address or the name of a machine before a line that has no date."""
    if facts.certain or facts.dated:
        return False
    if not NO_HOST.fullmatch(found["host"]):
        facts.line = replace(facts.line, host=found["host"])
    return True


def _labels(facts: Facts, found: re.Match[str], _: Dates) -> bool:
    if not facts.dated or facts.certain:
        return False
    if host := HOST_LABEL.search(found[0]):
        facts.line = replace(facts.line, host=host[1])
    facts.dated = False  # a whole line of a log follows
    return True


def _talos(facts: Facts, found: re.Match[str], dates: Dates) -> bool:
    facts.program |= found["facility"] != "kern"
    facts.line = replace(facts.line, host=found["host"] or facts.line.host)
    return _clock(facts, found, dates) and _certain(facts, found, dates)


def _extended(facts: Facts, found: re.Match[str], _: Dates) -> bool:
    """Read the head of a record of /dev/kmsg, as extended netconsole sends it."""
    facts.program |= int(found["priority"]) >= KERNEL_FACILITY
    facts.line = replace(facts.line, ktime=int(found["us"]) * 1000)
    return _certain(facts, found, _)


Use = Callable[[Facts, "re.Match[str]", Dates], bool]


def _all() -> Iterator[tuple[str, Use]]:
    yield pieces.JOURNAL_STAMP, _journal_stamp
    yield pieces.STAMP, _stamp
    yield from ((tag, _tag) for tag in pieces.TAGS)
    yield pieces.BRACKETED, _bracketed
    yield from ((clock, _own_clock) for clock in pieces.OWN_CLOCKS)
    yield pieces.DELTAS, _certain
    yield pieces.CALLER_ONLY, _caller_only
    yield from ((clock, _android) for clock in pieces.ANDROID)
    yield from ((clock, _clock) for clock in pieces.CLOCKS)
    yield pieces.SENDER, _sender
    yield pieces.NAMED_HOST, _sender
    yield pieces.TALOS, _talos
    yield pieces.EXTENDED, _extended
    yield pieces.PRIORITY, _priority
    yield pieces.FACILITY_NUMBER, _facility
    yield pieces.FACILITY_NAME, _undated
    yield pieces.LEVEL, _level
    yield r"(?:stdout|stderr) [FP] ", lambda *_: True
    yield pieces.LABELS, _labels
    yield pieces.RELAY, _relay
    yield pieces.RELAY_NAMED, _host
    yield pieces.RELAY_TWICE, _uncertain
    yield pieces.REPEATED, _caller
    yield from ((caller, _caller) for caller in pieces.CALLERS)
    yield from ((decoration, _decoration) for decoration in pieces.DECORATIONS)
    yield pieces.CLOCK_ONLY, _clock_only


def _can_begin_with(kind: str, pattern: str) -> bool:
    if re.match(r"\\\[(?![?*{])", pattern):
        return kind == "["
    if re.match(r"(?:\(\?P<\w+>)?\[0-9\](?!\?|\{0)", pattern):
        return kind == "0"
    return not re.match("<(?!/)", pattern) or kind == "<"


KINDS = {**dict.fromkeys("0123456789", "0"), "[": "[", "<": "<"}
"""Of the characters that only some pieces begin with."""

PIECES: dict[str, tuple[tuple[re.Pattern[str], Use], ...]] = {
    kind: tuple((re.compile(pattern), use) for pattern, use in _all() if _can_begin_with(kind, pattern))
    for kind in ("0", "[", "<", "")
}
"""By the kind of the first character, in the order in which they are tried."""
