# SPDX-License-Identifier: Apache-2.0
"""Checks for every line of every scenario: against the kernel log, and against the lines of the other levels."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from _log import PAGE, UNKILLABLE, Report
from support.tracer import COMMAND, Line
from support.witness import LoggedKill

RANKED = 10
CPUS = os.cpu_count() or 1
UNSYNCED = 64
"""Pages: with several CPUs a victim still runs while it is read, and each of its threads may hold back this many
before it counts them (TASK_RSS_EVENTS_THRESH in mm/memory.c, until 6.2). With one CPU all sizes agree to the page.
"""
Equal = Callable[[str, Any, Any], None]


def at(line: Line, name: str) -> Any:
    """Return the value of a dotted name; None if it is absent."""
    value: Any = line
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def slack(line: Line) -> int:
    """Return by how many pages two readings of a victim's memory may differ."""
    return 0 if CPUS == 1 else UNSYNCED * ((at(line, "process.threads") or 1) + 1)


def near(got: int | None, expected: int, by: int) -> int | None:
    """Return `expected` if `got` is within `by` of it, else `got`."""
    return expected if got is not None and abs(got - expected) <= by else got


def check_form(line: Line, equal: Equal) -> None:
    """Check a line with those parts of JSON Schema that the shipped schema uses, and what no schema can say."""
    for problem in _violations(line, _schema(), "line"):
        equal("schema", problem, None)
    for kind in _schema()["anyOf"]:
        if line["event"] in kind["properties"]["event"]["enum"]:
            equal("required keys that are absent", [name for name in kind["required"] if name not in line], [])
    equal(f"observed at {line['observed']}, not before {line['time']}", line["observed"] >= line["time"], True)
    equal("facts both present and missing", [name for name in line["missing"] if at(line, name) is not None], [])


@cache
def _schema() -> dict[str, Any]:
    done = subprocess.run([COMMAND, "schema"], check=True, capture_output=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}


def _violations(value: Any, schema: dict[str, Any], name: str) -> list[str]:
    if type(value) is not TYPES[schema["type"]]:
        return [f"{name} is {value!r}"]
    if value not in schema.get("enum", [value]):
        return [f"{name} is {value!r}"]
    if isinstance(value, list):
        return [problem for item in value for problem in _violations(item, schema["items"], f"{name}[]")]
    if not isinstance(value, dict):
        return []
    found = [f"{name} has no {key}" for key in schema.get("required", ()) if key not in value]
    for key, part in value.items():
        known = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
        found += _violations(part, known, f"{name}.{key}") if known else [f"{name}.{key} is not in the schema"]
    return found


def check_full(line: Line, report: Report, logged: LoggedKill, equal: Equal) -> None:
    """Compare a line of level `full` with the kernel log."""
    equal("fidelity", line["fidelity"], "full")
    equal("constraint", at(line, "oom.constraint"), report.constraint)
    equal("gfp_mask", int(at(line, "oom.gfp_mask.raw"), 16), report.gfp_mask)
    equal("gfp flags", set(at(line, "oom.gfp_mask.flags")), report.gfp_flags)
    equal("order", at(line, "oom.order"), report.order)
    equal("trigger comm", at(line, "oom.trigger.comm"), report.comm)
    equal("oom_memcg", at(line, "oom.memcg.path"), report.oom_memcg)
    check_victim(line, logged, equal)
    if at(line, "oom.verdict") == "killed":
        # the summary describes the chosen process only
        equal("task_memcg", at(line, "cgroup.path"), report.task_memcg)
        equal("summary's pid", at(line, "process.pid"), report.chosen)
    check_points(line, report, equal)
    if report.tasks and "oom.points" not in line["derived"]:
        check_candidates(line, report, equal)


def check_victim(line: Line, logged: LoggedKill, equal: Equal) -> None:
    """Compare the victim with its `Killed process` line, to the kilobyte."""
    for name in ("anon", "file", "shmem", "page_tables", "total_vm"):
        size, expected = at(line, f"process.memory.{name}"), getattr(logged, name)
        equal(
            f"{name} kB", near(None if size is None else size // 1024, expected, slack(line) * PAGE // 1024), expected
        )
    equal("tid", at(line, "process.tid"), logged.pid)
    equal("comm", at(line, "process.comm"), logged.comm)
    equal("uid", at(line, "process.user.id"), logged.uid)
    equal("adj", at(line, "process.oom_score_adj"), logged.adj)


def check_points(line: Line, report: Report, equal: Equal) -> None:
    points = at(line, "oom.points") or {}
    parts = [points.get(name) for name in ("rss", "swap", "page_tables", "adj")]
    equal("a part of the points is absent", None in parts, False)
    total, few = sum(part or 0 for part in parts), slack(line)
    equal("points add up", near(points.get("total"), total, few), total)
    # where the total was derived there is none of the kernel to compare with
    exact = None if "oom.points" in line["derived"] else points.get("total") == total
    equal("points.exact", points.get("exact"), exact)
    row = report.tasks.get(at(line, "process.pid"))
    if row is not None:
        in_table = row.points(line["oom"]["limit_bytes"] // PAGE)
        equal("points as in the task table", near(points.get("total"), in_table, few), in_table)


def check_candidates(line: Line, report: Report, equal: Equal) -> None:
    """Compare the kernel's ranking with the one that follows from the log's table of tasks.

    A task that the kernel must not kill (oom_score_adj -1000) has no points.
    """
    candidates, total = at(line, "oom.candidates") or [], line["oom"]["limit_bytes"] // PAGE
    eligible = {task.tgid: task.points(total) for task in report.tasks.values() if task.adj != UNKILLABLE}
    equal("candidates", len(candidates), min(RANKED, len(eligible)))
    equal("best candidate", candidates[0]["pid"] if candidates else None, report.chosen)
    points = [candidate["points"] for candidate in candidates]
    equal("candidates are in order", points, sorted(points, reverse=True))
    if CPUS == 1:  # else memory changes between the ranking and the table
        equal("points of the candidates", points, sorted(eligible.values(), reverse=True)[:RANKED])
    for candidate in candidates:
        task, few = report.tasks.get(candidate["pid"]), slack(line)
        if task:
            equal("candidate", (candidate["comm"], candidate["oom_score_adj"]), (task.comm, task.adj))
            equal("candidate's points", near(candidate["points"], task.points(total), few), task.points(total))
            equal("candidate's memory", near(candidate["memory"], task.size * PAGE, few * PAGE), task.size * PAGE)
            equal("candidate's cgroup", type(candidate.get("cgroup")), str)
    equal("weighed", at(line, "oom.weighed"), len(eligible))


def check_identity(line: Line, pid: int, equal: Equal) -> None:
    """Compare with what the scenario itself knows of a process that it started."""
    equal("pid", at(line, "process.pid"), pid)
    equal("vpid", at(line, "process.vpid"), pid)
    equal("parent", at(line, "process.parent.pid"), os.getpid())
    equal("host name", at(line, "namespace.hostname"), os.uname().nodename)
    for name in ("pid", "net"):
        equal(f"{name} namespace", at(line, f"namespace.{name}_ns"), str(Path(f"/proc/self/ns/{name}").stat().st_ino))
    equal("peak", at(line, "process.memory.peak_rss") >= PAGE * at(line, "oom.points.rss"), True)


NODES = len(list(Path("/sys/devices/system/node").glob("node[0-9]*")))

# The facts of the decision, which level `reduced` cannot read, and those that differ from tracer to tracer.
OF_FULL_ALONE = {"oom.constraint", "oom.gfp_mask", "oom.order", "oom.weighed", "oom.candidates", "oom.points.exact"}
OF_ONE_TRACER = {"seq", "observed", "id", "time", "fidelity", "derived", "missing", "message", "oom.incident"}
CLOCK_ERROR_S = 0.1
"""Each tracer reads the clocks for itself, and an emulated CPU may be preempted between two of them."""


def check_level_reduced(line: Line, full: Line, equal: Equal) -> None:
    """Check that level `reduced` has the same facts, except those of the decision itself."""
    equal("fidelity", line["fidelity"], "reduced")
    left, right = flat(line), flat(full)
    times = [datetime.fromisoformat(facts.pop("process.creation.time")) for facts in (left, right)]
    equal("creation", abs((times[0] - times[1]).total_seconds()) < CLOCK_ERROR_S, True)
    # with several memory nodes it cannot distinguish a cpuset or a policy from the whole machine, and must list that
    unknown = {name for name in ("oom.scope", "oom.limit_bytes") if name in line["missing"] and NODES > 1}
    for name in sorted((left.keys() | right.keys()) - unknown):
        if not any(name == other or name.startswith(f"{other}.") for other in OF_FULL_ALONE | OF_ONE_TRACER):
            equal(name, left.get(name), right.get(name))


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return all facts of a line, by their dotted names."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for key, part in value.items() for k, v in flat(part, f"{prefix}.{key}" if prefix else key).items()}


def check_level_minimal(line: Line, full: Line, equal: Equal) -> None:
    """Check that level `minimal` has the tracepoint's fields and, where it was quick enough, those of /proc."""
    equal("fidelity", line["fidelity"], "minimal")
    for name in ("oom.verdict", "oom.number", "oom.trigger.tid", "process.tid", "process.comm"):
        equal(name, at(line, name), at(full, name))
    for name in ("process.pid", "process.user.id", "process.oom_score_adj", "cgroup.path", "oom.scope"):
        if at(line, name) is not None:
            equal(name, at(line, name), at(full, name))
