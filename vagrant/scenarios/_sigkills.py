# SPDX-License-Identifier: Apache-2.0
"""Lines of SIGKILLs that a memory killer in user space has sent, at each level that has probes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from _checks import check_form
from _scenario import Scenario
from _tolerances import at
from _tracers import StandingTracer
from _units import show
from support.tracer import Line, victim_of

TIMEOUT_S = 20


@dataclass(frozen=True)
class Killer:
    """A memory killer, as /proc and systemd show it while it runs."""

    unit: str
    pid: int
    comm: str
    executable: str
    user: int
    cgroup: str


def running(unit: str) -> Killer:
    """Return what is known of a daemon that runs as a service."""
    properties = show(unit)
    folder = Path("/proc", properties["MainPID"])
    (row,) = (row for row in (folder / "status").read_text().splitlines() if row.startswith("Uid:"))
    comm, executable = (folder / "comm").read_text().strip(), str((folder / "exe").readlink())
    return Killer(unit, int(folder.name), comm, executable, int(row.split()[1]), properties["ControlGroup"])


def check(run: Scenario, killer: Killer, unit: str, slice_name: str, least: int = 1) -> dict[str, list[Line]]:
    """Check that each tracer with probes has a line for each victim in a unit, and return them by level.

    Args:
        run: The scenario, in which nothing else was killed by `killer`.
        killer: Who has killed.
        unit: Whose processes it has killed.
        slice_name: The slice of that unit.
        least: How many they were at least.
    """
    probed = [tracer for tracer in run.tracers.values() if tracer.level != "log"]
    found = {tracer.level: sigkills(tracer, least) for tracer in probed}
    for level, lines in found.items():
        run.true(f"level {level}: {len(lines)} lines, at least {least}", len(lines) >= least)
        run.equal("incidents", len({at(line, "sigkill.incident") for line in lines}), 1)
        run.equal("one line each", len(set(map(victim_of, lines))), len(lines))
        run.equal("nothing dropped", [line for line in lines if at(line, "sigkill.dropped_before")], [])
        for line in lines:
            check_form(line, run.equal)
            _check_line(run, line, killer, unit, slice_name)
    victims = {level: sorted(map(_victim, lines)) for level, lines in found.items()}
    run.equal("the same victims at each level", len(set(map(tuple, victims.values()))), 1)
    run.show(found["full"])
    return found


def sigkills(tracer: StandingTracer, least: int = 0) -> list[Line]:
    """Wait for lines of SIGKILLs, up to a timeout, and return all of this scenario."""

    def lines() -> list[Line]:
        return [line for line in tracer.lines() if line["event"] == "sigkill"]

    deadline = time.monotonic() + TIMEOUT_S
    while len(lines()) < least and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)  # for those of the same incident, and for lines that should not come
    return lines()


def _victim(line: Line) -> int:
    return victim_of(line) or 0


def _check_line(run: Scenario, line: Line, killer: Killer, unit: str, slice_name: str) -> None:
    sender = at(line, "sigkill.sender") or {}
    known = [sender.get("pid"), sender.get("comm"), at(sender, "executable.path"), at(sender, "user.id")]
    run.equal("sender", known, [killer.pid, killer.comm, killer.executable, killer.user])
    run.equal("its cgroup", sender.get("cgroup"), killer.cgroup)
    run.equal("its unit", sender.get("unit"), killer.unit)
    if at(line, "fidelity") == "minimal" and "systemd" not in line:
        run.equal("all that is known of a victim that had exited", sorted(line["process"]), ["comm", "tid"])
        return
    names = ("unit", "slice", "manager")
    run.equal("unit", [at(line, f"systemd.{name}") for name in names], [unit, slice_name, "system"])
    run.true("the message names both", f" in {unit} was killed by {killer.comm} (pid {killer.pid})" in line["message"])
