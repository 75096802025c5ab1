# SPDX-License-Identifier: Apache-2.0
"""Victims of many threads: their number is the one from before the signal, although they exit at once."""

import re
import signal
from pathlib import Path

from _checks import at
from _scenario import scenario

COUNTS = (5_001, 301)


def threads_of(pid: int) -> int:
    found = re.search(r"^Threads:\t(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def main() -> None:
    """Kill a group of two such processes at once."""
    with scenario() as run:
        group = run.cgroup()
        (group.folder / "memory.oom.group").write_text("1")
        victims = [run.victim("crew", group, arguments=[b"%d" % count]).go() for count in COUNTS]
        for victim, count in zip(victims, COUNTS, strict=True):
            run.equal("said", victim.said(), "0")
            run.equal("threads by /proc", threads_of(victim.pid), count)
        group.limit(group.usage() + (8 << 20))
        victims[0].go()
        for victim in victims:
            run.equal("status", victim.end(), -signal.SIGKILL)
        pids = [victim.pid for victim in victims]
        lines = run.kills(pids)
        reduced = {line["process"]["pid"]: line for line in run.tracers["reduced"].kills_of(pids)}
        for line, count in zip(lines, COUNTS, strict=True):
            run.equal("threads", at(line, "process.threads"), count)
            run.equal("level reduced: threads", at(reduced[line["process"]["pid"]], "process.threads"), count)
