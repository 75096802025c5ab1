# SPDX-License-Identifier: Apache-2.0
"""The second source as a witness: the kills read from the kernel log are compared with those of level `full`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from _checks import Equal, check_form, flat
from _log import PAGE
from _tolerances import SLOWDOWN, UNSYNCED, charge_slack, is_crowded, near, others_free, slack
from support.tracer import COMMAND, Line

OF_ONE_SOURCE = {
    "id",  # unless both know the ordinal: else a timestamp, of the probe in one source, of a log line in the other
    "oom.incident",  # such a timestamp
    "time",  # the same; compared with a tolerance below
    "seq",  # ordinal of the line in one source
    "observed",  # when it was read
    "fidelity",
    "derived",  # what this source had to compute
    "missing",
    "message",  # composed of the facts, of which the log has fewer
    "oom.weighed",  # the log's table is made after the choice, and has victims that are still exiting
    "oom.candidates",  # the same; and without their cgroups
}
MOVING = {"process.memory": PAGE, "oom.points": 1, "oom.memcg.usage": PAGE, "oom.memcg.swap": PAGE}
"""Facts that may change between probe and print while another CPU runs, and the unit of a page in each."""

LEAST = {True: 30, False: 15}
"""Facts of a kill that both sources have: with a complete report, and with only its own line left by the rate limit."""

CLOCKS_APART_S = 0.5 * SLOWDOWN
"""printk() stamps with local_clock(), which nobody slews, and whose zero is not quite that of CLOCK_MONOTONIC. A kernel
with PREEMPT_RT may also run something else between the mark and the line.
"""


def check_log(
    from_log: Collection[Line],
    lines: Collection[Line],
    logged: Mapping[int, bool],
    lost: int,
    apart: float,
    equal: Equal,
) -> str:
    """Compare every fact that both sources have; return a summary of how many there were.

    Args:
        from_log: Lines read from the log.
        lines: Lines of level `full`.
        logged: Threads killed according to what is left of the log; True for those with a report of their own.
        lost: How many kills level `full` reports as lost.
        apart: Seconds by which the times may differ.
    """
    from_log = [line for line in from_log if line["process"]["tid"] in logged]
    for line in from_log:
        check_form(line, equal)
    equal("one line each", sorted(line["process"]["tid"] for line in from_log), sorted(logged))
    full = {line["process"]["tid"]: line for line in lines}
    pairs = [(line, full[line["process"]["tid"]]) for line in from_log if line["process"]["tid"] in full]
    equal("kills that were traced, too", len(pairs), len(logged) - lost)
    shared = [_shared(line, seen, lines, equal) for line, seen in pairs]
    for (line, _), facts in zip(pairs, shared, strict=True):
        tid = line["process"]["tid"]
        equal(f"tid {tid}: {facts} facts are enough", facts >= LEAST[logged[tid]], True)
    times = [_seconds(*pair) for pair in pairs] or [0.0]
    equal("times", max(map(abs, times)) < apart, True)
    least, spread = min(shared, default=0), f"{min(times):+.6f} to {max(times):+.6f} s"
    return f"{len(pairs)} kills, {sum(shared)} facts, of each at least {least}, clocks {spread}"


def logs(event: str = "oom_kill") -> list[Line]:
    """Return the lines of `oomtrace logs` for what is left of this boot's log."""
    done = subprocess.run([COMMAND, "logs", "/dev/kmsg"], check=True, capture_output=True)
    return [line for line in map(json.loads, done.stdout.splitlines()) if line["event"] == event]


def no_kills() -> list[Line]:
    """Return those of the OOMs without a kill."""
    return logs("oom_no_kill")


def _shared(line: Line, full: Line, lines: Collection[Line], equal: Equal) -> int:
    """Compare one kill; return how many facts were equal."""
    shrinking = ("oom.memcg.usage", "oom.memcg.swap") if others_free(full, lines) else ()
    crowded = is_crowded(full, lines)
    left, right = flat(line), flat(full)
    both = left.keys() & right.keys()
    names = sorted(both - OF_ONE_SOURCE) + ["id"] * ("oom.number" in both)
    for name in names:
        got: Any = left[name]
        expected: Any = _parts(full) if name == "oom.points.total" else right[name]
        if name == "oom.gfp_mask.flags":  # a set: kernels differ in the order in which they print it
            got, expected = sorted(got), sorted(expected)
        if name in shrinking and got > expected:
            got = expected
        if name in ("oom.points.total", "oom.points.rss") and got - expected == _changed(full):
            got = expected  # the table was printed before pages were reclaimed, and the victim's own line after that
        equal(f"tid {full['process']['tid']}: {name}", _near(name, got, expected, full, crowded=crowded), expected)
    return len(names)


def _parts(full: Line) -> int:
    """Return the points as the sum of their parts: the kernel computed its total earlier, from other sizes perhaps."""
    return int(full["oom"]["points"]["total"]) - _changed(full)


def _changed(full: Line) -> int:
    """Return by how many pages the victim has become smaller since the kernel chose it: others reclaim meanwhile."""
    points = full["oom"]["points"]
    if points.get("exact") is not False:
        return 0
    parts = sum(points[name] for name in ("rss", "swap", "page_tables", "adj"))
    return int(points["total"] - parts)


def _near(name: str, got: object, expected: object, full: Line, *, crowded: bool) -> object:
    page = next((page for part, page in MOVING.items() if name == part or name.startswith(f"{part}.")), 0)
    if not page or not isinstance(got, int) or not isinstance(expected, int):
        return got
    pages = slack(full) if not crowded else max(slack(full), UNSYNCED)
    return near(got, expected, (charge_slack(full) if name.startswith("oom.memcg.") else pages) * page)


def _seconds(line: Line, full: Line) -> float:
    """Return by how much the log's time is later."""
    times = [datetime.fromisoformat(each["time"]) for each in (line, full)]
    return (times[0] - times[1]).total_seconds()
