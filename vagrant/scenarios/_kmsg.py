# SPDX-License-Identifier: Apache-2.0
"""The second source as a witness: what is made of the kernel's own log, held against level `full`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Mapping
from datetime import datetime

from _checks import CPUS, Equal, at, check_form, flat, near, slack
from _log import PAGE
from support.tracer import COMMAND, Line

OF_ONE_SOURCE = {
    "id",  # unless both know the kill's number: an instant, of the mark for one, of a line of the log for the other
    "oom.incident",  # such an instant
    "time",  # the same, and held together below
    "seq",  # number of the line, among those of one source
    "observed",  # when it was read
    "fidelity",
    "derived",  # what this source could not read
    "missing",
    "message",  # made of the facts, of which the log has fewer
}
MOVING = {"process.memory": PAGE, "oom.points": 1, "oom.memcg.usage": PAGE, "oom.memcg.swap": PAGE}
"""What may change between mark and print while another CPU runs, and how much is a page of it."""

DYING_S = 1
"""How long a victim may take to give its memory back, emulated."""

LEAST = {True: 30, False: 15}
"""Facts of a kill that both have: with its report whole, and with nothing but its own line left by the rate limit."""

CLOCKS_APART_S = 0.5
"""printk() stamps with local_clock(), which nobody slews, and whose zero is not quite that of CLOCK_MONOTONIC."""


def check_log(
    told: Collection[Line], lines: Collection[Line], logged: Mapping[int, bool], lost: int, apart: float, equal: Equal
) -> str:
    """Compare every fact that both sources have; return how much that was.

    Args:
        told: What was made of the log.
        lines: Of level `full`.
        logged: The threads that the log, as far as it is still there, calls killed; whether with a report of their own.
        lost: How many of them level `full` says that it has not seen.
        apart: Seconds that the times may differ by.
    """
    told = [line for line in told if line["process"]["tid"] in logged]
    for line in told:
        check_form(line, equal)
    equal("one line each", sorted(line["process"]["tid"] for line in told), sorted(logged))
    full = {line["process"]["tid"]: line for line in lines}
    pairs = [(line, full[line["process"]["tid"]]) for line in told if line["process"]["tid"] in full]
    equal("kills that were traced, too", len(pairs), len(logged) - lost)
    shared = [_shared(line, seen, lines, equal) for line, seen in pairs]
    for (line, _), facts in zip(pairs, shared, strict=True):
        tid = line["process"]["tid"]
        equal(f"tid {tid}: {facts} facts are enough", facts >= LEAST[logged[tid]], True)
    times = [_seconds(*pair) for pair in pairs] or [0.0]
    equal("times", max(map(abs, times)) < apart, True)
    least, spread = min(shared, default=0), f"{min(times):+.6f} to {max(times):+.6f} s"
    return f"{len(pairs)} kills, {sum(shared)} facts, of each at least {least}, clocks {spread}"


def logs() -> list[Line]:
    """Return what `oomtrace logs` makes of the log of this boot, as far as it is still there."""
    done = subprocess.run([COMMAND, "logs"], check=True, capture_output=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def _shared(line: Line, full: Line, lines: Collection[Line], equal: Equal) -> int:
    """Compare one kill; return how many facts were equal."""
    gives_back = ("oom.memcg.usage", "oom.memcg.swap") if _other_dies(full, lines) else ()
    left, right = flat(line), flat(full)
    both = left.keys() & right.keys()
    names = sorted(both - OF_ONE_SOURCE) + ["id"] * ("oom.number" in both)
    for name in names:
        got, expected = left[name], _weighed(full) if name == "oom.points.total" else right[name]
        if name == "oom.gfp_mask.flags":  # a set: kernels differ in the order in which they print it
            got, expected = sorted(got), sorted(expected)
        if name in gives_back and got > expected:
            got = expected
        equal(f"tid {full['process']['tid']}: {name}", _near(name, got, expected, full), expected)
    return len(names)


def _weighed(full: Line) -> int:
    """Return the points that the log can know: the kernel weighed a moment before, and its own sum may be another."""
    points = full["oom"]["points"]
    if points.get("exact") is not False:
        return int(points["total"])
    return sum(points[name] for name in ("rss", "swap", "page_tables", "adj"))


def _other_dies(full: Line, lines: Collection[Line]) -> bool:
    """Say whether an earlier victim in that cgroup may still be dying: its memory comes back between print and mark."""
    where, when = at(full, "oom.memcg.path"), full["time"]
    others = [one for one in lines if at(one, "oom.memcg.path") == where and one["time"] < when]
    return any(_seconds(full, one) < DYING_S for one in others)


def _near(name: str, got: object, expected: object, full: Line) -> object:
    page = next((page for one, page in MOVING.items() if name == one or name.startswith(f"{one}.")), 0)
    if not page or CPUS == 1 or not isinstance(got, int) or not isinstance(expected, int):
        return got
    return near(got, expected, slack(full) * page)


def _seconds(line: Line, full: Line) -> float:
    """How much later the log says that it was."""
    times = [datetime.fromisoformat(one["time"]) for one in (line, full)]
    return (times[0] - times[1]).total_seconds()
