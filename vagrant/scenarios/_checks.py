# SPDX-License-Identifier: Apache-2.0
"""Checks for every line of every scenario: against the kernel log, and against the lines of the other levels."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Collection
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from _log import PAGE, UNKILLABLE, Report
from _tolerances import at, charge_slack, near, others_free, slack, tracepoint_slack
from support.tracer import COMMAND, Line
from support.witness import LoggedKill

RANKED = 10
NO_LIMIT = 1 << 60
"""Bytes: page_counter_set_max() with PAGE_COUNTER_MAX, in whole kilobytes."""
Equal = Callable[[str, Any, Any], None]


def check_form(line: Line, equal: Equal) -> None:
    """Check a line with those parts of JSON Schema that the shipped schema uses, and what no schema can say."""
    for problem in _violations(line, _schema(), "line"):
        equal("schema", problem, None)
    for kind in _schema()["anyOf"]:
        if line["event"] in kind["properties"]["event"]["enum"]:
            equal("required keys that are absent", [name for name in kind["required"] if name not in line], [])
    equal(f"observed at {line['observed']}, not before {line['time']}", line["observed"] >= line["time"], True)
    equal(
        "facts both present and missing", [name for name in line.get("missing", ()) if at(line, name) is not None], []
    )


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


def check_full(line: Line, report: Report, logged: LoggedKill, equal: Equal, lines: Collection[Line] = ()) -> None:
    """Compare a line of level `full` with the kernel log; `lines`: those of the whole scenario."""
    equal("fidelity", line["fidelity"], "full")
    equal("constraint", at(line, "oom.constraint"), report.constraint)
    equal("gfp_mask", int(at(line, "oom.gfp_mask.raw"), 16), report.gfp_mask)
    equal("gfp flags", set(at(line, "oom.gfp_mask.flags")), report.gfp_flags)
    equal("order", at(line, "oom.order"), report.order)
    check_probed(line, report, logged, equal, lines)
    killed = at(line, "oom.verdict") == "killed"
    if killed and not _is_allocating_task(report):
        equal("points are the kernel's", "oom.points" in line["derived"], False)
        if report.tasks:
            check_candidates(line, report, equal)
    else:
        equal("points are derived", "oom.points" in line["derived"], True)
        equal("candidates", at(line, "oom.candidates"), None)


def check_probed(line: Line, report: Report, logged: LoggedKill, equal: Equal, lines: Collection[Line] = ()) -> None:
    """Compare what the levels `full` and `reduced` both have with the kernel log."""
    equal("trigger comm", at(line, "oom.trigger.comm"), report.comm)
    if report.trigger is not None:
        equal("trigger's thread", at(line, "oom.trigger.tid"), report.trigger)
    equal("oom_memcg", at(line, "oom.memcg.path"), report.oom_memcg)
    check_victim(line, logged, equal)
    if at(line, "oom.verdict") == "killed":
        # the summary describes the chosen process only
        equal("task_memcg", at(line, "cgroup.path"), report.task_memcg)
        equal("summary's pid", at(line, "process.pid"), report.chosen)
    check_points(line, report, logged, equal)
    check_memcg(line, report, equal, lines)


ALLOCATING_TASK = Path("/proc/sys/vm/oom_kill_allocating_task")


def _is_allocating_task(report: Report) -> bool:
    """Say whether the kernel has chosen the task that allocates, and ranked none."""
    return report.constraint != "CONSTRAINT_MEMCG" and ALLOCATING_TASK.read_text() != "0\n"


def check_memcg(line: Line, report: Report, equal: Equal, lines: Collection[Line] = ()) -> None:
    """Compare the cgroup's counters with those that the kernel has printed a moment before the probe."""
    if report.memory is None:
        return
    memcg, few = at(line, "oom.memcg") or {}, charge_slack(line)
    equal("memcg limit", memcg.get("limit"), report.memory.limit)
    usage, printed = memcg.get("usage", 0), report.memory.usage
    # earlier victims may free nearly all of it between the two, and what they have freed others may charge
    if not others_free(line, lines):
        equal("memcg usage", near(usage, printed, few * PAGE), printed)
    most = report.memory.limit + charge_slack(line, others=max(len(report.tasks) - 1, 0)) * PAGE
    equal(f"memcg usage {usage} is positive and at most {most}", 0 < usage <= most, True)
    if memcg.get("version") == 2 and report.swap:
        swap = report.swap.usage
        equal("memcg swap", near(memcg.get("swap"), swap, slack(line) * PAGE), swap)
        limit = report.swap.limit if report.swap.limit < NO_LIMIT else None
        equal("memcg swap limit", memcg.get("swap_limit"), limit)


SIZES = ("anon", "file", "shmem", "page_tables", "total_vm")


def check_victim(line: Line, logged: LoggedKill, equal: Equal) -> None:
    """Compare the victim with its `Killed process` line, to the kilobyte."""
    for name in SIZES:
        size, expected = at(line, f"process.memory.{name}"), getattr(logged, name)
        equal(
            f"{name} kB", near(None if size is None else size // 1024, expected, slack(line) * PAGE // 1024), expected
        )
    equal("tid", at(line, "process.tid"), logged.pid)
    equal("comm", at(line, "process.comm"), logged.comm)
    equal("uid", at(line, "process.user.id"), logged.uid)
    equal("adj", at(line, "process.oom_score_adj"), logged.adj)


def check_points(line: Line, report: Report, logged: LoggedKill, equal: Equal) -> None:
    """Compare the points and their parts with the log: the victim's own line, and its row in the table of tasks."""
    points = at(line, "oom.points") or {}
    parts = [points.get(name) for name in ("rss", "swap", "page_tables", "adj")]
    equal("a part of the points is absent", None in parts, False)
    total, few = sum(part or 0 for part in parts), slack(line)
    equal("points add up", near(points.get("total"), total, few), total)
    limit = report.totalpages(swap_total())
    if limit is not None:
        equal("limit_bytes", at(line, "oom.limit_bytes"), limit * PAGE)
    elif "oom.limit_bytes" in line["missing"]:  # of several nodes, at level `reduced`
        limit = None
    else:  # of the whole machine, or of its nodes
        limit = line["oom"]["limit_bytes"] // PAGE
    row = report.tasks.get(at(line, "process.pid"))
    swap = row.swap if row else points.get("swap") or 0
    expected = {
        "rss": (logged.anon + logged.file + logged.shmem) * 1024 // PAGE,
        "swap": swap,
        "page_tables": logged.page_tables * 1024 // PAGE,
    }
    if limit is not None:
        expected["adj"] = logged.adj * (limit // 1000)
    for name, pages in expected.items():
        equal(f"points.{name}", near(points.get(name), pages, few), pages)
    if row is not None and limit is not None:
        in_table = row.points(limit)
        equal("points as in the task table", near(points.get("total"), in_table, few), in_table)
    equal("memory.swap", near(at(line, "process.memory.swap"), swap * PAGE, few * PAGE), swap * PAGE)
    if "oom.points" in line["derived"]:  # there is no total of the kernel's to compare with
        equal("points.exact", points.get("exact"), None)
    elif not few:
        equal("points.exact", points.get("exact"), points.get("total") == sum(expected.values()))
    else:
        equal("points.exact", points.get("exact"), points.get("total") == total)


def swap_total() -> int:
    """Return all swap that the machine has, in bytes."""
    (row,) = (row for row in Path("/proc/meminfo").read_text().splitlines() if row.startswith("SwapTotal:"))
    return int(row.split()[1]) * 1024


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
    if not slack(line):  # else memory changes between the ranking and the table
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
READ_IN_TIME = {
    "systemd.oom_policy",
    "systemd.stops_unit",
    "systemd.invocation_id",
    "container.name",
    "container.image",
}
"""Facts from files, for which a line waits 50 ms: on an emulated CPU one tracer may have them and another not."""

CLOCK_ERROR_S = 0.1
"""Each tracer reads the clocks for itself, and an emulated CPU may be preempted between two of them."""


def check_level_reduced(line: Line, full: Line, equal: Equal, lines: Collection[Line] = ()) -> None:
    """Check that level `reduced` has the same facts, except those of the decision itself.

    Args:
        line: Of level `reduced`.
        full: The same kill at level `full`.
        equal: Takes what was compared.
        lines: All lines of level `full`: an earlier victim may free memory of the cgroup between the two programs.
    """
    equal("fidelity", line["fidelity"], "reduced")
    left, right = flat(line), flat(full)
    times = [datetime.fromisoformat(facts.pop("process.creation.time")) for facts in (left, right)]
    equal("creation", abs((times[0] - times[1]).total_seconds()) < CLOCK_ERROR_S, True)
    # with several memory nodes it cannot distinguish a cpuset or a policy from the whole machine, and must list that
    unknown = {name for name in ("oom.scope", "oom.limit_bytes") if name in line["missing"] and NODES > 1}
    unknown |= {name for name in left.keys() ^ right.keys() if name.startswith(tuple(READ_IN_TIME))}
    unknown |= {"oom.memcg.usage"} & left.keys() & right.keys() if others_free(full, lines) else set()
    for name in sorted((left.keys() | right.keys()) - unknown):
        if not any(name == other or name.startswith(f"{other}.") for other in OF_FULL_ALONE | OF_ONE_TRACER):
            got, expected = left.get(name), right.get(name)
            if name == "oom.memcg.usage" and expected is not None:
                got = near(got, expected, charge_slack(full) * PAGE)
            equal(name, got, expected)


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return all facts of a line, by their dotted names."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for key, part in value.items() for k, v in flat(part, f"{prefix}.{key}" if prefix else key).items()}


def _is_missing(line: Line, name: str) -> bool:
    """Say whether a line lists a fact, or a part that it belongs to, as missing."""
    return any(name == other or name.startswith(f"{other}.") for other in line["missing"])


def check_level_minimal(line: Line, full: Line, logged: LoggedKill, equal: Equal) -> None:
    """Check that level `minimal` has the tracepoint's fields and, where it was quick enough, those of /proc."""
    equal("fidelity", line["fidelity"], "minimal")
    for name in SIZES:
        if (size := at(line, f"process.memory.{name}")) is not None:
            expected = getattr(logged, name)
            few = tracepoint_slack(full) * PAGE // 1024
            equal(f"{name} kB", near(size // 1024, expected, few), expected)
        else:
            equal(f"{name} is missing", _is_missing(line, f"process.memory.{name}"), True)
    equal("comm", at(line, "process.comm"), logged.comm)
    for name, expected in (("process.user.id", logged.uid), ("process.oom_score_adj", logged.adj)):
        if at(line, name) is not None:
            equal(name, at(line, name), expected)
    for name in ("oom.verdict", "oom.number", "oom.trigger.tid", "process.tid", "process.comm"):
        equal(name, at(line, name), at(full, name))
    for name in ("process.pid", "process.user.id", "process.oom_score_adj", "cgroup.path", "oom.scope"):
        if at(line, name) is not None:
            equal(name, at(line, name), at(full, name))
