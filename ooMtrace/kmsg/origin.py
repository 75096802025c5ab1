# SPDX-License-Identifier: Apache-2.0
"""What is known of a log besides its lines, and what follows from that for a record: time, host and id. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2s

from ooMtrace import record
from ooMtrace.kernel.snapshot import rfc3339
from ooMtrace.kmsg.formats import LogLine
from ooMtrace.kmsg.report import Report


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a log besides its lines.

    Attributes:
        observed: When it is read, RFC 3339.
        host: The host, if the log is known to be its own.
        booted: Nanoseconds from the epoch to the zero of the kernel's clock, if the log is of this boot.
        kill_count_before: The kernel's count of kills before the first one in the log, if it is known.
        page: Size of a page in bytes, if the log is known to be of this boot.
        log: A digest of the log's beginning; empty: its lines are all that there is.
    """

    observed: str
    host: record.Host | None = None
    booted: int | None = None
    kill_count_before: int | None = None
    page: int | None = None
    log: str = ""


def printed_at(line: LogLine, origin: Origin) -> str | None:
    """Return when the line was printed, RFC 3339.

    A time computed from the kernel's own clock is approximate, since nothing corrects that clock (local_clock()). It
    may be some milliseconds ahead, but no kill happened after it was observed.
    """
    try:
        if line.wall is None and line.ktime is not None and origin.booted is not None:
            return min(rfc3339(origin.booted + line.ktime), origin.observed)
        return None if line.wall is None else rfc3339(line.wall)
    except OverflowError:  # damaged: the year does not exist
        return None


def is_derived(line: LogLine, time: str | None) -> bool:
    """Return whether the time of a line was computed."""
    return time is not None and (line.guessed or line.wall is None)


def host_of(report: Report, line: LogLine, origin: Origin) -> record.Host:
    """Return the host: the one whose log it is known to be, or else the one that the line names."""
    if origin.host is not None:
        return origin.host
    return record.Host(name=line.host, boot_id=line.boot_id, kernel=report.trigger.kernel)


def instant_id(line: LogLine, host: record.Host, pid: int, end: LogLine, origin: Origin) -> str:
    """Identify a line by the best clock that the log has, or else by its number, and by the end of the OOM.

    Hosts, boots and files may share a time stamp and a pid, so all that the lines state is part of it, as a digest.
    Where they do not state the boot, nor host and date, their place in the log is part of it, too.
    """
    owner = (host.boot_id or host.name or "log")[:8]
    at = f"w{line.wall:x}" if line.wall is not None else f"n{line.number:x}"
    at = at if line.ktime is None else f"{line.ktime:x}"
    facts = (host.name, host.boot_id, line.ktime, line.wall, line.text, end.text)
    is_dated = host.boot_id is not None or (host.name is not None and line.wall is not None)
    place = () if is_dated or not origin.log else (origin.log, end.number)
    digest = blake2s(repr(facts + place).encode(errors="backslashreplace"), digest_size=4).hexdigest()
    return f"{owner}-{at}-{pid}-{digest}"
