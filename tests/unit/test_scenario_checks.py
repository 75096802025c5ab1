# SPDX-License-Identifier: Apache-2.0
"""The scenarios' own checks: they accept what is right, and complain of any one fact that is wrong.

tests/fixtures/checks has three kills of the kernel matrix: the lines of three levels, and the kernel log's report.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.tracer import repairs

from ooMtrace.record.json_schema import json_schema

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests/fixtures/checks"
MIB = 1 << 20
SWAP_TOTAL = {"memcg": 0, "nested": 0, "swap": 128 * MIB}

IN_LOG = (
    *("oom.trigger.comm", "oom.memcg.path", "oom.memcg.usage", "oom.memcg.limit", "oom.memcg.swap"),
    *("oom.memcg.swap_limit", "oom.limit_bytes", "oom.points.total", "oom.points.rss", "oom.points.swap"),
    *("oom.points.page_tables", "oom.points.adj", "oom.points.exact", "process.tid", "process.pid", "process.comm"),
    *("process.user.id", "process.oom_score_adj", "process.memory.anon", "process.memory.file"),
    *("process.memory.shmem", "process.memory.swap", "process.memory.page_tables", "process.memory.total_vm"),
    "cgroup.path",
)
"""What the levels `full` and `reduced` have in common with the kernel log."""

OF_DECISION = (
    *("fidelity", "derived", "oom.constraint", "oom.gfp_mask.raw", "oom.gfp_mask.flags", "oom.order", "oom.weighed"),
    *("oom.candidates.0.pid", "oom.candidates.0.comm", "oom.candidates.0.points", "oom.candidates.0.memory"),
    *("oom.candidates.0.oom_score_adj", "oom.candidates.0.cgroup", "oom.candidates"),
)
OF_TRACEPOINT = (
    *("fidelity", "oom.verdict", "oom.number", "oom.trigger.tid", "oom.scope", "process.tid", "process.comm"),
    *("process.user.id", "process.oom_score_adj", "process.memory.anon", "process.memory.file"),
    *("process.memory.shmem", "process.memory.page_tables", "process.memory.total_vm"),
)


class Kill:
    """One of the kills, and the module of the checks."""

    def __init__(self, name: str, checks: ModuleType, log: ModuleType) -> None:
        self.lines: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
        (self.report,) = log.reports((FIXTURES / f"{name}.log").read_text().splitlines())
        (self.logged,) = self.report.kills
        self.checks = checks

    def complaints(self, level: str, line: Any) -> list[str]:
        found: list[str] = []

        def equal(what: str, got: object, expected: object) -> None:
            if got != expected:
                found.append(what)

        if level == "full":
            self.checks.check_full(line, self.report, self.logged, equal)
        elif level == "reduced":
            self.checks.check_probed(line, self.report, self.logged, equal)
        elif level == "minimal":
            self.checks.check_level_minimal(line, self.lines["full"], self.logged, equal)
        elif level == "reduced beside full":
            self.checks.check_level_reduced(line, self.lines["full"], equal)
        else:
            self.checks.check_form(line, equal)
        return found


@pytest.fixture(params=SWAP_TOTAL)
def kill(request, monkeypatch, tmp_path) -> Kill:
    monkeypatch.syspath_prepend(str(ROOT / "vagrant/scenarios"))
    import _checks
    import _log

    allocating = tmp_path / "oom_kill_allocating_task"
    allocating.write_text("0\n")
    monkeypatch.setattr(_checks, "ALLOCATING_TASK", allocating)
    monkeypatch.setattr(_checks, "CPUS", 1)
    monkeypatch.setattr(_checks, "NODES", 1)
    monkeypatch.setattr(_checks, "swap_total", lambda: SWAP_TOTAL[request.param])
    monkeypatch.setattr(_checks, "_schema", json_schema)
    return Kill(request.param, _checks, _log)


def changed(line: Any, name: str) -> Any:
    """Return a copy in which one fact is different; none if it is absent."""
    made = copy.deepcopy(line)
    *parents, last = (int(key) if key.isdigit() else key for key in name.split("."))
    part = made
    for parent in parents:
        part = part[parent]
    part[last] = other(part[last])
    return made


def other(value: Any) -> Any:
    """Return another value of the same kind; a page more or less of a size."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 4096
    if isinstance(value, list):
        return value[1:] if value else ["oom.points"]
    return f"{value[:-1]}{'1' if value[-1] == '0' else '0'}"


@pytest.mark.parametrize("level", ["full", "reduced", "minimal", "reduced beside full", "form"])
def test_a_right_line_has_no_complaint(kill, level):
    assert kill.complaints(level, kill.lines.get(level.partition(" ")[0], kill.lines["full"])) == []


@pytest.mark.parametrize("name", [*IN_LOG, *OF_DECISION])
def test_level_full_any_wrong_fact_is_noticed(kill, name):
    if name == "oom.candidates.0.cgroup":
        line = copy.deepcopy(kill.lines["full"])
        del line["oom"]["candidates"][0]["cgroup"]
    else:
        line = changed(kill.lines["full"], name)

    assert kill.complaints("full", line) != []


@pytest.mark.parametrize("name", [name for name in IN_LOG if name != "oom.points.exact"])
def test_level_reduced_any_wrong_fact_is_noticed(kill, name):
    assert kill.complaints("reduced", changed(kill.lines["reduced"], name)) != []


def test_level_reduced_a_claim_that_the_points_are_the_kernels_is_noticed(kill):
    line = copy.deepcopy(kill.lines["reduced"])
    line["oom"]["points"]["exact"] = True

    assert kill.complaints("reduced", line) == ["points.exact"]


@pytest.mark.parametrize("name", OF_TRACEPOINT)
def test_level_minimal_any_wrong_fact_is_noticed(kill, name):
    line = changed(kill.lines["minimal"], name)
    if name.startswith("process.memory"):  # more than the tracepoint's counters may be off
        line = changed(kill.lines["minimal"], name)
        for _ in range(50):
            line = changed(line, name)

    assert kill.complaints("minimal", line) != []


def test_level_minimal_an_absent_size_is_named_as_missing(kill):
    line = copy.deepcopy(kill.lines["minimal"])
    del line["process"]["memory"]["anon"]
    assert kill.complaints("minimal", line) == ["anon is missing"]

    line["missing"].append("process.memory.anon")
    assert kill.complaints("minimal", line) == []


def test_level_minimal_swapped_sizes_are_noticed(kill):
    line = copy.deepcopy(kill.lines["minimal"])
    memory = line["process"]["memory"]
    memory["anon"], memory["shmem"] = memory["shmem"], memory["anon"]

    assert kill.complaints("minimal", line) == ["anon kB", "shmem kB"]


def test_any_fact_in_which_level_reduced_and_level_full_differ_is_noticed(kill):
    line = kill.lines["reduced"]
    left_out = kill.checks.OF_FULL_ALONE | kill.checks.OF_ONE_TRACER
    facts = kill.checks.flat(line)
    shared = [name for name in facts if not any(name == each or name.startswith(f"{each}.") for each in left_out)]

    assert len(shared) > 50
    for name in shared:
        if name == "process.creation.time":
            continue
        assert kill.complaints("reduced beside full", changed(line, name)) == [name]


def test_two_levels_with_different_times_of_the_start_are_noticed(kill):
    line = copy.deepcopy(kill.lines["reduced"])
    line["process"]["creation"]["time"] = "2026-11-27T00:00:00.000000Z"

    assert kill.complaints("reduced beside full", line) == ["creation"]


def test_derived_points_do_not_excuse_the_candidates(kill):
    line = copy.deepcopy(kill.lines["full"])
    line["derived"] = ["oom.points"]
    del line["oom"]["points"]["exact"]
    del line["oom"]["candidates"]

    found = kill.complaints("full", line)

    assert {"points are the kernel's", "candidates", "best candidate"} <= set(found)


def test_exact_points_are_those_of_the_log_and_not_of_the_line(kill):
    """A line may agree with itself and be wrong."""
    line = copy.deepcopy(kill.lines["full"])
    points = line["oom"]["points"]
    points["rss"] += 1
    points["total"] += 1

    assert "points.exact" in kill.complaints("full", line)


@pytest.mark.parametrize(
    ("name", "value"),
    [("schema", 1), ("event", "oom"), ("observed", "2020-01-01T00:00:00.000000Z"), ("extra", 1), ("missing", ["time"])],
)
def test_a_line_of_another_form_is_noticed(kill, name, value):
    assert kill.complaints("form", {**kill.lines["full"], name: value}) != []


def test_a_line_without_a_required_key_is_noticed(kill):
    line = copy.deepcopy(kill.lines["full"])
    del line["oom"]["incident"]

    assert kill.complaints("form", line) == ["schema"]


@pytest.fixture
def proc(kill) -> ModuleType:
    import _proc

    return _proc


@pytest.fixture
def sleeper() -> Iterator[int]:
    """The pid of a process that has been loaded and sleeps: the loader opens files and closes them again."""
    with subprocess.Popen(["sleep", "60"]) as process:
        for _ in range(1000):
            status = Path(f"/proc/{process.pid}/status").read_text()
            if "Name:\tsleep" in status and "State:\tS" in status:
                break
            time.sleep(0.01)
        yield process.pid
        process.kill()


def test_any_fact_that_differs_from_proc_is_noticed(kill, proc, sleeper):
    line = kill.lines["full"]
    names = [name for name in proc.look(sleeper) if name != proc.CREATION]
    facts = {name: kill.checks.at(line, name) for name in names}
    facts[proc.CREATION] = proc.datetime.fromisoformat(line["process"]["creation"]["time"]).timestamp()

    def wrong(facts: dict[str, Any]) -> list[str]:
        found: list[str] = []
        proc.check_proc(line, facts, lambda what, got, expected: found.extend([what] if got != expected else []))
        return found

    assert None not in facts.values()
    assert wrong(facts) == []
    for name in names:
        assert wrong({**facts, name: other(facts[name])}) == [f"{name} as in /proc"]
    for by in (-1, 1):
        assert len(wrong({**facts, proc.CREATION: facts[proc.CREATION] + by})) == 1


def test_look_has_the_facts_of_a_process(proc, sleeper):
    facts = proc.look(sleeper)

    assert facts["process.pid"] == sleeper
    assert facts["process.parent.pid"] == os.getpid()
    assert facts["process.command_args"] == ["sleep", "60"]
    assert facts["process.working_directory"] == str(Path.cwd())
    assert facts["process.user.id"] == os.getuid()
    assert facts["process.threads"] == 1
    assert facts["process.open_files.total"] == sum(facts[f"process.open_files.{kind}"] for kind in set(KINDS))
    assert -0.1 < time.time() - facts[proc.CREATION] < 60


KINDS = ("regular", "directory", "device", "pipe", "socket", "anonymous")


def numbered(count: int = 3, **more: Any) -> list[dict[str, Any]]:
    """Return right lines of level `full`."""
    line = json.loads((FIXTURES / "memcg.json").read_text())["full"]
    lines = [copy.deepcopy({**line, **more}) for _ in range(count)]
    for i, each in enumerate(lines, 1):
        each["seq"] = i
        each["oom"]["number"] = 40 + i
    return lines


def test_a_tracer_that_has_seen_every_kill_has_repaired_nothing():
    assert repairs(numbered(), "full") == []


def test_each_sign_of_a_repair_is_noticed():
    backfilled, dropped, gap, order, lost = (numbered() for _ in range(5))
    backfilled[1]["fidelity"] = "log"
    dropped[1]["dropped_before"] = 2
    gap[2]["oom"]["number"] += 1
    order[2]["seq"] += 1
    lost.append({"event": "oom_lost", "seq": 4, "fidelity": "full", "lost": {"count": 2}})

    assert repairs(backfilled, "full") == ["line 2 (oom_kill): fidelity log"]
    assert repairs(dropped, "full") == ["line 2 (oom_kill): dropped_before 2"]
    assert repairs(gap, "full") == ["kill 42 is followed by kill 44"]
    assert repairs(order, "full") == ["line 2 is followed by line 4"]
    assert repairs(lost, "full") == ["line 4 (oom_lost): 2 lost"]


def test_the_second_count_of_a_groups_chosen_process_is_no_gap():
    lines = numbered()
    lines[0]["oom"]["group"] = {"path": "/group", "size": 3}
    for line in lines[1:]:
        line["oom"]["number"] += 1

    assert repairs(lines, "full") == []


@pytest.mark.parametrize("change", [{"event": "oom_dying"}, {"verdict": "shared_mm"}])
def test_a_number_of_a_process_that_the_kernel_does_not_count_is_noticed(change):
    (line,) = numbered(1)
    line["event"] = change.get("event", line["event"])
    line["oom"]["verdict"] = change.get("verdict", "killed")

    assert repairs([line], "full") == [
        f"line 1 ({line['event']}): number 41 of a process that the kernel does not count"
    ]
