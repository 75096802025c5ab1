# SPDX-License-Identifier: Apache-2.0
"""Victims of many threads: their number is the one from before the signal, although they exit at once."""

import re
import signal
from collections.abc import Sequence
from pathlib import Path

from _scenario import Scenario, scenario
from _tolerances import at

ALONE, MEMBERS = 5_001, (301, 201)


def threads_of(pid: int) -> int:
    found = re.search(r"^Threads:\t(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def kill(run: Scenario, counts: Sequence[int]) -> dict[int, int]:
    """Kill processes of so many threads in one cgroup; return the number of each by its pid."""
    limited = run.cgroup()
    if len(counts) > 1:
        (limited.folder / "memory.oom.group").write_text("1")
    victims = [run.victim("crew", limited, arguments=[b"%d" % count]).go() for count in counts]
    for victim, count in zip(victims, counts, strict=True):
        run.equal("said", victim.said(), "0")
        run.equal("threads by /proc", threads_of(victim.pid), count)
    limited.limit(limited.usage() + (8 << 20))
    victims[0].go()
    for victim in victims:
        run.equal("status", victim.end(), -signal.SIGKILL)
    return {victim.pid: count for victim, count in zip(victims, counts, strict=True)}


def main() -> None:
    """Kill one process of very many threads, and a group of two with fewer."""
    with scenario() as run:
        counts = {**kill(run, (ALONE,)), **kill(run, MEMBERS)}
        lines = run.kills(list(counts))
        reduced = {line["process"]["pid"]: line for line in run.tracers["reduced"].kills_of(list(counts))}
        for line, (pid, count) in zip(lines, counts.items(), strict=True):
            run.equal("threads", at(line, "process.threads"), count)
            run.equal("level reduced: threads", at(reduced[pid], "process.threads"), count)
