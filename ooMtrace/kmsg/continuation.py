# SPDX-License-Identifier: Apache-2.0
r"""Which lines are the rest of the record before: a process's name, and a path, can contain newlines. Pure.

A reader of /proc/kmsg and `dmesg -S` print each line of a record with the record's stamp (record_print_text()),
`dmesg -t` without any. Else a user could hide a kill (comm `a\nb`), or forge one: overlayfs prints mount options.
"""

from __future__ import annotations

import re

from ooMtrace.kmsg import grammar
from ooMtrace.kmsg.formats import LogLine

KILL = re.compile(
    r"^(?:(?:Memory cgroup out of memory|Out of memory(?: \([^)]*\))?): )?Kill(?:ed)? process [0-9]{1,10}\b", re.DOTALL
)
"""How a kill's line begins, whether it is complete or not."""

CUT_KILL = re.compile(rf"{KILL.pattern}(?:, UID [0-9]{{1,10}},)? \({grammar.COMM}\Z", re.DOTALL)
MAX_COMM = 15 * len("\\xff")
"""Characters of a name whose bytes are all escaped."""

OF_REPORT = re.compile(
    r"^(?:Memory cgroup|Out of memory|Kill(?:ed)? process|oom[-_]|Tasks? |Mem-Info|memory|swap|kmem|\[|\d+ |Node "
    r"|Total |Free |Swap |Add |lowmem|Call Trace|Hardware|CPU|RIP|RSP|R\w\w: |Code: |DR\d| |<|---|Unreclaimable|Name "
    r"|\w+ \d+\Z|(?:in)?active_|\w+:\d| *\w+[+]0x)|^.{0,15} invoked oom-killer: |^.{0,15} cpuset=",
    re.ASCII,
)
"""How the lines begin that the kernel prints in a report of the OOM killer; none of them begins with a user's text."""

MICROSECONDS = 1_000_000


def continues(held: LogLine, line: LogLine, *, fine: bool) -> bool:
    """Return whether a line is the rest of the one before.

    Args:
        held: The line before, with what was joined to it.
        line: The line.
        fine: Whether the kernel's clock is finer than a millisecond: then two records have different stamps.
    """
    if _stamp(held) != _stamp(line):
        return False
    if _is_cut(held.text):
        return True
    joined = f"{held.text}\n{line.text}"
    if " invoked oom-killer: " in line.text:
        return bool(grammar.HEADER.match(joined)) and line.ktime is not None
    return fine and line.ktime is not None and _is_forgeable(line.text) and not OF_REPORT.match(held.text)


def is_fine(line: LogLine) -> bool:
    """Return whether a line shows that the kernel's clock is finer than a millisecond."""
    return line.ktime is not None and line.ktime % MICROSECONDS != 0


def _stamp(line: LogLine) -> tuple[object, ...]:
    """Return what all lines of a record share; syslog adds times of its own."""
    return line.ktime, line.wall if line.ktime is None else None, line.host, line.caller


def _is_cut(text: str) -> bool:
    """Return whether a line ends within a name: the rest of it follows a newline."""
    if text.startswith("oom-kill:"):
        _, task, comm = text.rpartition(",task=")
        return bool(task) and len(comm) <= MAX_COMM and "," not in comm
    return "Kill" in text and bool(CUT_KILL.match(text))


def _is_forgeable(text: str) -> bool:
    return bool(KILL.match(text)) or text.startswith(("oom-kill:", "Tasks in ", "Task in ", "["))
