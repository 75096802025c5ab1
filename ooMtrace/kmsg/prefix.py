# SPDX-License-Identifier: Apache-2.0
"""What stands before the kernel's text where no usual tool wrote the line: relays, shippers, pastes, consoles. Pure.

A prefix is read piece by piece from the left: decoration, priority, clocks, host and tag, the kernel's stamp. Only
known pieces are removed. So a kill's sentence counts only where the kernel's text begins: what a program or a user has
written stands after something that is not a piece.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from ooMtrace.kmsg.dates import Dates, nanoseconds
from ooMtrace.kmsg.formats import KERNEL_FACILITY, LogLine

MAX_PIECES = 16

SENTENCE = (
    r"(?:Memory cgroup out of memory|Out of memory|Killed process \d|Kill process \d|oom-kill:|Tasks? in /"
    r"|Memory cgroup stats for |memory(?:\+swap)?: usage|swap: usage|Mem-Info:|Tasks state |CPU: \d)"
)
"""How the kernel's sentences begin that do not begin with a name."""

CLOCK_TIME = r"(?P<clock>\d\d:\d\d:\d\d)(?:[.,](?P<part>\d{1,9}))?"
STAMP_TIME = r"(?P<s>\d{1,10})\.(?P<us>\d{6}|\d{3})"
FACILITY = (
    r"(?:kern|user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|ftp|local\d)"
    r"\.(?:emerg|alert|crit|err|error|warn|warning|notice|info|debug) +"
)
HOST = rf"(?!{FACILITY})(?P<host>[^\s\[<>:](?:\S{{0,253}}[^\s:])?)"
TAG = r"(?:kernel|vmunix|kern)"


@dataclass(slots=True)
class _Facts:
    """What the pieces so far state: `dated` after a clock, which a host and a tag follow; `certain` as in Split."""

    line: LogLine
    dated: bool = False
    certain: bool = False
    program: bool = False


@dataclass(frozen=True, slots=True)
class Split:
    """A line without its prefix.

    Attributes:
        line: None if a program wrote it.
        stamped: Whether it has a time, or a tag of the kernel.
        certain: Whether it has what only the kernel's lines have.
    """

    line: LogLine | None
    stamped: bool
    certain: bool = False


class Prefixes:
    """Splits lines.

    Args:
        dates: Converts dates.
    """

    def __init__(self, dates: Dates) -> None:
        self._dates = dates

    def split(self, text: str, base: LogLine | None = None) -> Split:
        """Remove the prefix; `base` has what is known of the line already."""
        facts, at = _Facts(base or LogLine("")), 0
        at = self._pieces(text, at, facts)
        if facts.dated and not facts.certain and not facts.program:
            at = self._relayed(text, at, facts)
            at = self._pieces(text, at, facts) if facts.certain else at
        if facts.program:
            return Split(None, stamped=True)
        rest = text[at:]
        if "message repeated " in text[:at]:
            rest = REPEATED_END.sub("", rest)
        rest = rest.rstrip(" ")  # some pad their lines
        return Split(replace(facts.line, text=rest), stamped=facts.dated or facts.certain, certain=facts.certain)

    def rest(self, line: LogLine) -> LogLine:
        """Remove what still stands before the text of a line whose usual prefix was removed."""
        facts = _Facts(replace(line, text=""), dated=True, certain=True)
        at = self._pieces(line.text, 0, facts)
        if not at or facts.program:
            return line
        text = line.text[at:]
        return replace(facts.line, text=REPEATED_END.sub("", text) if "message repeated " in line.text[:at] else text)

    def _pieces(self, text: str, at: int, facts: _Facts) -> int:
        for _ in range(MAX_PIECES):
            end = at if facts.program else self._piece(text, at, facts)
            if end == at:
                break
            at = end
        return at

    def _piece(self, text: str, at: int, facts: _Facts) -> int:
        """Read one piece; return where it ends, or `at` if there is none."""
        for pattern, use in PIECES:
            if (found := pattern.match(text, at)) and found.end() > at and use(facts, found, self._dates):
                return found.end()
        return at

    def _relayed(self, text: str, at: int, facts: _Facts) -> int:
        """Read the host of a line without a tag, as netconsole's are; a line with another tag is a program's.

        Only an address is a host here: anybody can send text without a tag to the local syslog, which adds its name.
        """
        if found := ADDRESS.match(text, at):
            facts.line = replace(facts.line, host=found["host"])
            facts.certain = True
            return found.end()
        facts.program |= bool(OTHER_TAG.match(text, at)) and not SENTENCES.match(text, at)
        return at


SENTENCES = re.compile(SENTENCE)
ADDRESS = re.compile(
    r"(?P<host>(?:\d{1,3}\.){3}\d{1,3}|[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}) +"
    rf"(?:(?={SENTENCE})|(?!\S+: )(?!\S+\[\d+\]: ))"
)
OTHER_TAG = re.compile(
    r"(?:\S{1,255} +)?(?:[a-z]+\d?\.[a-z]+ +)?[^\s:\[]{1,255}(?:\[\d+\])?: |\S{1,255} \S{1,255} (?:-|\d+) \S+ "
)
REPEATED_END = re.compile(r"\]\s*\Z")


def _decoration(facts: _Facts, _: re.Match[str], _dates: Dates) -> bool:
    return not facts.dated and not facts.certain


def _blank(facts: _Facts, _: re.Match[str], _dates: Dates) -> bool:
    return facts.certain


def _priority(facts: _Facts, found: re.Match[str], _: Dates) -> bool:
    syslog = found["version"] is not None or found["next"] is not None
    facts.program |= not (syslog or facts.dated or facts.certain) and int(found["priority"]) >= KERNEL_FACILITY
    return True


def _level(facts: _Facts, found: re.Match[str], _: Dates) -> bool:
    facts.program |= found["facility"] != "kern"
    return True


def _facility(facts: _Facts, found: re.Match[str], _: Dates) -> bool:
    facts.program |= int(found["number"]) != 0
    return True


def _named(found: re.Match[str], name: str) -> str | None:
    return found[name] if name in found.re.groupindex else None


def _clock(facts: _Facts, found: re.Match[str], dates: Dates) -> bool:
    """Read a time that is not the kernel's; of several the one nearest to the text counts, if it is as precise."""
    if facts.certain:
        return False
    wall, guessed = _wall(found, dates)
    old = facts.line
    if wall is not None and (old.wall is None or old.guessed or not guessed):
        facts.line = replace(old, wall=wall, guessed=guessed)
    facts.dated = True
    return True


def _wall(found: re.Match[str], dates: Dates) -> tuple[int | None, bool]:
    part = _named(found, "part") or ""
    if unix := _named(found, "unix"):
        return nanoseconds(unix), False
    if iso := _named(found, "iso"):
        name = (_named(found, "zone") or "").strip()
        zone = "Z" if name in ("UTC", "GMT") else name if name[:1] in ("Z", "+", "-") else None
        return dates.iso(iso, part, zone), zone is None
    if year := _named(found, "year"):
        return dates.local(int(year), found["month"], found["day"], found["clock"], part), True
    clock = found["clock"] if len(found["clock"]) == len("hh:mm:ss") else f"{found['clock']}:00"
    return dates.yearless(found["month"], found["day"], clock, part), True


def _own_clock(facts: _Facts, found: re.Match[str], dates: Dates) -> bool:
    """Read a time in brackets, as dmesg prints it: the kernel's line."""
    return _clock(facts, found, dates) and _certain(facts, found, dates)


def _certain(facts: _Facts, _: re.Match[str], _dates: Dates) -> bool:
    facts.certain = True
    return True


def _tag(facts: _Facts, found: re.Match[str], _: Dates) -> bool:
    """Read the kernel's tag; what follows the kernel's own stamp or another tag is text that somebody may have made."""
    if facts.certain and (found["host"] is not None or facts.line.ktime is not None):
        return False
    facts.line = replace(facts.line, host=found["host"] or facts.line.host)
    facts.certain = True
    return True


def _stamp(facts: _Facts, found: re.Match[str], _: Dates) -> bool:
    if facts.line.ktime is not None:
        return False
    ktime = int(found["s"]) * 1_000_000_000 + int(found["us"].ljust(9, "0"))
    facts.line = replace(facts.line, ktime=ktime, caller=_named(found, "caller") or facts.line.caller)
    facts.certain = True
    return True


def _journal_stamp(facts: _Facts, found: re.Match[str], dates: Dates) -> bool:
    """Read what `journalctl -o short-delta` prints: a host and a tag follow."""
    if facts.certain or facts.dated:
        return False
    _stamp(facts, found, dates)
    facts.line, facts.certain, facts.dated = facts.line, False, True
    return True


def _android(facts: _Facts, found: re.Match[str], dates: Dates) -> bool:
    facts.program |= found["tag"] not in ("kernel", "vmunix")
    return _clock(facts, found, dates) and _certain(facts, found, dates)


def _sender(facts: _Facts, found: re.Match[str], _: Dates) -> bool:
    """Read the address of a machine, as a receiver of netconsole writes it."""
    if facts.certain or facts.dated:
        return False
    facts.line = replace(facts.line, host=found["host"])
    return True


def _talos(facts: _Facts, found: re.Match[str], dates: Dates) -> bool:
    facts.program |= found["facility"] != "kern"
    facts.line = replace(facts.line, host=found["host"] or facts.line.host)
    return _clock(facts, found, dates) and _certain(facts, found, dates)


def _extended(facts: _Facts, found: re.Match[str], _: Dates) -> bool:
    """Read the head of a record of /dev/kmsg, as extended netconsole sends it."""
    facts.program |= int(found["priority"]) >= KERNEL_FACILITY
    facts.line = replace(facts.line, ktime=int(found["us"]) * 1000)
    return _certain(facts, found, _)


ISO = r"(?P<iso>\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d)(?:[.,](?P<part>\d{1,9}))?"
ZONE = r"(?P<zone>Z| ?[+-]\d\d:?\d\d)?"
MONTH = r"(?P<month>[^\W\d_]{3,10}\.?|\d{1,2} ?[月월])"

Use = Callable[[_Facts, "re.Match[str]", Dates], bool]
PIECES: tuple[tuple[re.Pattern[str], Use], ...] = tuple(
    (re.compile(pattern), use)
    for pattern, use in (
        (rf"\[ *{STAMP_TIME} < *[\d.]+ >\] ", _journal_stamp),
        (rf"\[ *{STAMP_TIME}(?:@\d{{1,4}})?(?: *< *[\d.]+ *>)?\](?: ?\[ *(?P<caller>[TC]\d{{1,10}})\])? ?", _stamp),
        (rf"(?:{HOST} +)?(?:{FACILITY})?{TAG}(?:\[\d{{1,10}}\])?(?:: ?| (?=\[ *\d{{1,10}}\.\d))", _tag),
        (rf"(?:{HOST} +)?{TAG} (?:-|\d+) (?:-|\S{{1,32}}) -  ?", _tag),
        (rf"\[{ISO}{ZONE}\] ?", _own_clock),
        (rf"\[\S{{1,12}} +(?P<month>\S{{1,12}}) +(?P<day>\d{{1,2}}) {CLOCK_TIME} (?P<year>\d{{4}})\] ?", _own_clock),
        (r"\[(?P<month>[^\W\d_]{3,10}\.?|\d{1,2}[月월]) {0,2}(?P<day>\d{1,2}) (?P<clock>\d\d:\d\d)\] ?", _own_clock),
        (r"\[ *\+\d{1,10}\.\d{6}\] ?", _certain),
        (rf"\S{{2,12}} {ISO} (?P<zone>[A-Z][A-Za-z]{{2,5}}|[+-]\d\d(?:\d\d)?) ", _clock),
        (rf"{ISO}{ZONE} +", _clock),
        (
            rf"\S{{2,12}} +{MONTH} +(?P<day>\d{{1,2}}) {CLOCK_TIME} (?P<year>\d{{4}}) "
            r"(?:\[(?P<unix>\d{9,11}\.\d{3})\] )?",
            _clock,
        ),
        (rf"(?P<year>\d{{4}}) {MONTH} +(?P<day>\d{{1,2}}) {CLOCK_TIME} +", _clock),
        (rf"{MONTH} +(?P<day>\d{{1,2}}) (?P<year>\d{{4}}) {CLOCK_TIME} +", _clock),
        (rf"{MONTH} +(?P<day>\d{{1,2}}) {CLOCK_TIME} +", _clock),
        (rf"(?P<day>\d{{1,2}}) {MONTH} {CLOCK_TIME} +", _clock),
        (rf"(?P<host>(?:\d{{1,3}}\.){{3}}\d{{1,3}})(?::\d{{1,5}})?:? +(?=\[ *\d{{1,10}}\.\d|{SENTENCE})", _sender),
        (r"(?P<unix>\d{9,11}\.\d{3}(?:\d{3})?) ", _clock),
        (rf"(?P<month>\d\d)-(?P<day>\d\d) {CLOCK_TIME} +\d+ +\d+ [VDIWEF] (?P<tag>\S{{0,64}}?) *: ", _android),
        (rf"(?:(?P<host>\S{{1,255}}): )? *(?P<facility>[a-z]+): +[a-z]+: \[{ISO}{ZONE}\]: ", _talos),
        (r"(?:[\w.+~-]{1,64},)?(?P<priority>\d{1,10}),\d{1,18},(?P<us>\d{1,18}),[^;\s]{0,64};", _extended),
        (r"<(?P<priority>\d{1,3})>(?P<version>1 (?=\d{4}-))? ?(?P<next>(?=\w{3} [ \d]\d \d\d:|\d{4}-))?", _priority),
        (r"<(?P<number>\d{1,2})\.\d{1,3}> ", _facility),
        (r"(?P<facility>[a-z]+\d?) *:[a-z]+ *: ?", _level),
        (r"(?:stdout|stderr) [FP] ", lambda *_: True),
        (r"message repeated \d{1,9} times: \[ ?", _blank),
        (r"\.?\(\d{1,4}\)\[\d{1,10}:[^\]]{0,15}\] ?|c\d{1,3} ", _blank),
        (rf" {{1,8}}(?=\(\d{{1,4}}\)\[\d|{SENTENCE})", _blank),
        (r"(?:[\s>|*•·`#/]|&gt;)+|[-+] +|\d{1,6}[.)] +|\d{1,7}:?[ \t]+(?=[\[<]|kernel: )", _decoration),
        (
            rf"(?:[^\s:\[<>]{{1,255}}?[:-])?(?:\d{{1,9}}[:-])?(?=\[ *\d{{1,10}}\.\d|{MONTH} +\d{{1,2}} \d\d:"
            rf"|\d{{4}}-\d\d-\d\dT|kernel: |{SENTENCE})",
            _decoration,
        ),
    )
)
"""In the order in which they are tried."""
