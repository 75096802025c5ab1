# SPDX-License-Identifier: Apache-2.0
"""Records with named fields: the journal's export formats, `dmesg --json`, and what ships containers' logs. Pure.

A field may come after the message: who wrote it is known only at the end of the record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ooMtrace.kmsg.dates import nanoseconds
from ooMtrace.kmsg.formats import NAME, LogLine, parse_caller

PAIR = re.compile(
    r'(?<!\\)"((?:[^"\\]|\\.)*)"\s*(?::|=>)\s*(?:"((?:[^"\\]|\\.)*)"|\[([0-9,\s]*)\]|([0-9.]+))', re.DOTALL
)
"""A quote after a backslash begins no string: trying at each of them would take quadratic time."""

JSON_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
JSON_SHORT = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}

ASSIGNMENT = re.compile(r"^(?: {4,12})?(?P<key>_{0,2}[A-Z][A-Z0-9_]{0,63})=(?P<value>.*)\Z", re.DOTALL)
"""A field in `journalctl -o export`, and indented in `-o verbose`."""

BINARY = re.compile(r"^_{0,2}[A-Z][A-Z0-9_]{0,63}\Z")
"""The name of a field whose value follows with its length, because it has a newline or is not UTF-8."""

VERBOSE = re.compile(
    r"^\S{2,12} (?P<iso>[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?"
    r" (?P<zone>\S{1,8}) \[[a-z]="
)
FIELD = re.compile(r'^\s*"(?:_*[A-Z][A-Z0-9_]{0,63}|pri|time|caller|msg|fac)"\s*:')
OPENING = re.compile(r'^(?:data: |\x1e)?\s*\{\s*(?:"dmesg"\s*:\s*\[\s*\{\s*)?\Z')
CLOSING = re.compile(r"^\s*\}[\s\],}]{0,32}\{?\s*\Z")

RELATED = re.compile(rf"{CLOSING.pattern}|{BINARY.pattern}")

MESSAGES = (
    *("MESSAGE", "message", "log", "textPayload", "msg", "@message", "short_message", "line", "_raw", "SyslogMessage"),
    *("Message", "body", "event", "text", "content", "raw"),
)
"""The names of the text in the order of preference."""

HOSTS = ("_HOSTNAME", "hostname", "host", "node_name", "Computer", "HostName", "Hostname")
TIMES = (
    *(
        "timestamp",
        "time",
        "@timestamp",
        "_SOURCE_REALTIME_TIMESTAMP",
        "_time",
        "date",
        "TimeGenerated",
        "timereported",
    ),
)
TAGS = ("SYSLOG_IDENTIFIER", "ident", "appname", "programname", "syslogtag", "program", "ProcessName", "identifier")
KERNEL_TAGS = ("kernel", "kernel:", "vmunix")
TRANSPORTS = ("_TRANSPORT", "transport")
FACILITIES = ("Facility", "facility", "SYSLOG_FACILITY")
KERNEL_FACILITIES = ("kern", "kernel", "0")
MAX_HEAD = 96
"""Characters with the name of a field and what follows it."""

MAX_FIELDS, MAX_MESSAGE = 256, 1 << 16


@dataclass(frozen=True, slots=True)
class Message:
    """The text of a record.

    Attributes:
        line: With what the fields state; its text may have a prefix, if `nested`.
        is_kernels: Whether the fields do not name another writer.
        time: The shipper's, as it stands in the record.
        nested: Whether the text is a line of another log.
    """

    line: LogLine
    is_kernels: bool = True
    time: str | None = None
    nested: bool = False


def parse_json(line: str) -> dict[str, str]:
    """Return the pairs of a line: they are few and flat, and a truncated line still has its first ones."""
    pairs: dict[str, str] = {}
    for found in PAIR.finditer(line):
        pairs.setdefault(found[1], _value(found))
    return pairs


def message(pairs: dict[str, str]) -> Message | None:
    """Return what a record says; None if it has no text."""
    name = next((name for name in MESSAGES if name in pairs), None)
    if name is None:
        return None
    time = next((pairs[key] for key in TIMES if key in pairs), None)
    if name == "MESSAGE":
        return Message(_journal(pairs), _is_kernels(pairs), time)
    if name == "msg" and "time" in pairs and nanoseconds(pairs["time"]) is not None:
        ktime = nanoseconds(pairs["time"])
        return Message(LogLine(pairs["msg"], ktime=ktime, caller=parse_caller(pairs.get("caller"))))
    host = _host(pairs)
    text = pairs[name].rstrip("\r\n")
    return Message(LogLine(text, host=host), _is_kernels(pairs), time, nested=True)


def _is_kernels(pairs: dict[str, str]) -> bool:
    if any(pairs.get(name, "kernel") != "kernel" for name in TRANSPORTS):
        return False
    if any(pairs[name] not in KERNEL_FACILITIES for name in FACILITIES if name in pairs):
        return False
    return all(pairs[tag] in KERNEL_TAGS for tag in TAGS if tag in pairs)


def _host(pairs: dict[str, str]) -> str | None:
    return next((pairs[key] for key in HOSTS if re.fullmatch(NAME, pairs.get(key, ""))), None)


def _value(found: re.Match[str]) -> str:
    if found[3] is not None:  # not UTF-8: the journal lists the bytes
        return bytes(int(byte) & 0xFF for byte in re.findall(r"[0-9]{1,3}", found[3])).decode(
            "utf-8", "backslashreplace"
        )
    return _unescaped(found[2]) if found[2] is not None else found[4]


def _unescaped(text: str) -> str:
    def character(found: re.Match[str]) -> str:
        return chr(int(found[1], 16)) if found[1] else JSON_SHORT.get(found[2], found[2])

    plain = JSON_ESCAPE.sub(character, text)  # a character beyond 16 bits is two surrogates now
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "backslashreplace")


def _journal(pairs: dict[str, str]) -> LogLine:
    received, monotonic = _integer(pairs.get("__REALTIME_TIMESTAMP")), _integer(pairs.get("__MONOTONIC_TIMESTAMP"))
    ktime = _integer(pairs.get("_SOURCE_MONOTONIC_TIMESTAMP"))
    wall = received
    if received is not None and monotonic is not None and ktime is not None:  # journald may have read it late
        wall = received - max(monotonic - ktime, 0)
    boot = re.fullmatch(r"(.{8})(.{4})(.{4})(.{4})(.{12})", pairs.get("_BOOT_ID", ""))
    return LogLine(
        pairs["MESSAGE"],
        ktime=None if ktime is None else ktime * 1000,
        wall=None if wall is None else wall * 1000,
        host=_host(pairs),
        boot_id=boot and "-".join(boot.groups()),
    )


def _integer(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,18}", text) else None


class Records:
    """Collects the lines of records that spread over several lines.

    Attributes:
        open: Whether a record has begun and not ended: its further lines are needed.
    """

    def __init__(self) -> None:
        self.open = False
        self._pairs: dict[str, str] = {}
        self._header: str | None = None
        self._binary: str | None = None

    @staticmethod
    def begins(line: str) -> bool:
        """Return whether a line can only be the first one of a record."""
        return bool(OPENING.match(line) or VERBOSE.match(line))

    @staticmethod
    def is_field(line: str) -> bool:
        """Return whether a line is one field of such a record."""
        return bool(FIELD.match(line) or ASSIGNMENT.match(line))

    def wants(self, line: str) -> bool:
        """Return whether a line belongs to a record: begins or ends one, is a field, or the rest of a field."""
        head = line[:MAX_HEAD]
        if ("=" in head or '"' in head or "{" in head) and (self.begins(line) or self.is_field(line)):
            return True
        if not self.open:
            return False
        return self._binary is not None or not line.strip() or line[0] in " \t" or bool(RELATED.match(line))

    def take(self, line: str) -> Iterator[Message]:
        """Take a line that it wants; yield the record that it completes."""
        if not line.strip() or CLOSING.match(line) or self.begins(line):
            yield from self.drain()
            if header := VERBOSE.match(line):
                self._header = f"{header['iso']}{'Z' if header['zone'] in ('UTC', 'GMT') else ''}"
            self.open = self.begins(line) or line.rstrip().endswith("{")
        else:
            self.open = True
            self._add(line)

    def abandon(self) -> None:
        """Forget the record that is open."""
        self._pairs, self.open, self._binary, self._header = {}, False, None, None

    def drain(self) -> Iterator[Message]:
        """Yield the record that is open: the log, or the record, is at its end."""
        header, found = self._header, message(self._pairs)
        self.abandon()
        if found is not None:
            yield Message(found.line, found.is_kernels, found.time or header, found.nested)

    def _add(self, line: str) -> None:
        if self._binary is not None and not ASSIGNMENT.match(line):
            self._add_binary(self._binary, line)
            return
        self._binary = line if BINARY.match(line) else None
        if len(self._pairs) >= MAX_FIELDS:
            return
        if found := ASSIGNMENT.match(line):
            self._set(found["key"], found["value"])
        else:
            for key, value in parse_json(line).items():
                self._set(key, value)

    def _set(self, key: str, value: str) -> None:
        """Add a field; a second transport can be a text that imitates one."""
        if key == "_TRANSPORT" and self._pairs.get(key, value) != value:
            value = "ambiguous"
        self._pairs.setdefault(key, value) if key != "_TRANSPORT" else self._pairs.update({key: value})

    def _add_binary(self, key: str, line: str) -> None:
        value = self._pairs.get(key)
        if value is None:  # its length, eight bytes, comes first
            self._pairs[key] = re.sub(r"^(?:\\x[0-9a-f]{2}|.){0,2}?\0{6,7}", "", line)
        elif len(value) < MAX_MESSAGE:
            self._pairs[key] = f"{value}\n{line}"
