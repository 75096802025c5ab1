# SPDX-License-Identifier: Apache-2.0
"""The scenarios' own checks: they accept what is right, and complain of any one fact that is wrong.

tests/fixtures/checks has three kills of the kernel matrix: the lines of three levels, and the kernel log's report; and
the line of a process that was already dying.
"""

from __future__ import annotations

import copy
import json
import mmap
import os
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.descriptors import KINDS
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

    def __init__(self, name: str, checks: ModuleType, log: ModuleType, tolerances: ModuleType) -> None:
        self.lines: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
        (self.report,) = log.reports((FIXTURES / f"{name}.log").read_text().splitlines())
        (self.logged,) = self.report.kills
        self.checks = checks
        self.log = log
        self.tolerances = tolerances

    def complaints(self, level: str, line: Any, lines: Collection[Any] = ()) -> list[str]:
        found: list[str] = []

        def equal(what: str, got: object, expected: object) -> None:
            if got != expected:
                found.append(what)

        if level == "full":
            self.checks.check_full(line, self.report, self.logged, equal, lines)
        elif level == "reduced":
            self.checks.check_probed(line, self.report, self.logged, equal, lines)
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
    import _tolerances

    allocating = tmp_path / "oom_kill_allocating_task"
    allocating.write_text("0\n")
    monkeypatch.setattr(_checks, "ALLOCATING_TASK", allocating)
    monkeypatch.setattr(_tolerances, "CPUS", 1)
    monkeypatch.setattr(_checks, "NODES", 1)
    monkeypatch.setattr(_checks, "swap_total", lambda: SWAP_TOTAL[request.param])
    monkeypatch.setattr(_checks, "_schema", json_schema)
    return Kill(request.param, _checks, _log, _tolerances)


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


@pytest.mark.parametrize(("pages", "systemd", "complaints"), [(16, True, 0), (17, True, 1), (1, False, 1)])
def test_in_a_unit_processes_that_exit_may_free_memory_between_the_programs_of_two_levels(
    kill, pages, systemd, complaints
):
    full, line = kill.lines["full"], copy.deepcopy(kill.lines["reduced"])
    if systemd:
        unit = {"systemd": {"unit": "a.service"}}
        full.update(unit)
        line.update(unit)
    line["oom"]["memcg"]["usage"] = full["oom"]["memcg"]["usage"] - pages * mmap.PAGESIZE

    assert len(kill.complaints("reduced beside full", line)) == complaints


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


def put(line: Any, **facts: Callable[[int], int]) -> Any:
    """Return a copy in which facts are computed from what they were; `memcg__usage` is `oom.memcg.usage`."""
    made = copy.deepcopy(line)
    for name, compute in facts.items():
        where, last = name.split("__")
        part = made["process"]["memory"] if where == "memory" else made["oom"][where]
        part[last] = compute(part[last])
    return made


def swapped(line: Any, one: str, other: str) -> Any:
    memory = line["process"]["memory"]
    return put(line, **{f"memory__{one}": lambda _: memory[other], f"memory__{other}": lambda _: memory[one]})


WRONG: dict[str, Callable[[Any], Any]] = {
    "usage in pages": lambda line: put(line, memcg__usage=lambda usage: usage // 4096),
    "usage in kilobytes": lambda line: put(line, memcg__usage=lambda usage: usage // 1024),
    "usage of another cgroup": lambda line: put(line, memcg__usage=lambda _: 3 * MIB),
    "usage of the cgroup above": lambda line: put(line, memcg__usage=lambda usage: 2 * usage),
    "usage of nothing": lambda line: put(line, memcg__usage=lambda _: 0),
    "limit in pages": lambda line: put(line, memcg__limit=lambda limit: limit // 4096),
    "swap of another counter": lambda line: put(line, memcg__swap=lambda swap: swap + line["oom"]["memcg"]["usage"]),
    "anonymous memory and file pages swapped": lambda line: swapped(line, "anon", "file"),
    "anonymous memory and shared memory swapped": lambda line: swapped(line, "anon", "shmem"),
    "anonymous memory in pages": lambda line: put(line, memory__anon=lambda size: size // 4096),
    "anonymous memory of another process": lambda line: put(line, memory__anon=lambda size: size - 4 * MIB),
    "the total of another process": lambda line: put(line, memory__total_vm=lambda size: size + 4 * MIB),
    "points in bytes": lambda line: put(line, points__rss=lambda pages: pages * 4096),
    "points in kilobytes": lambda line: put(line, points__rss=lambda pages: pages * 4),
    "points of another process": lambda line: put(line, points__total=lambda pages: pages // 2),
}
"""Faults that somebody might make in reading the counters."""


@pytest.mark.parametrize("threads", [1, 5])
@pytest.mark.parametrize("cpus", [1, 2, 4])
@pytest.mark.parametrize("wrong", WRONG)
def test_no_tolerance_covers_a_counter_that_is_another_or_in_another_unit(kill, monkeypatch, wrong, cpus, threads):
    monkeypatch.setattr(kill.tolerances, "CPUS", cpus)
    for level in ("full", "reduced"):
        right = copy.deepcopy(kill.lines[level])
        right["process"]["threads"] = threads
        assert kill.complaints(level, right) == []

        assert kill.complaints(level, WRONG[wrong](right)) != []


@pytest.mark.parametrize(("cpus", "threads", "pages"), [(1, 1, 0), (1, 2, 64), (1, 5, 256), (2, 1, 128), (4, 5, 384)])
def test_the_usage_may_be_off_by_what_other_threads_charge_and_no_more(kill, monkeypatch, cpus, threads, pages):
    monkeypatch.setattr(kill.tolerances, "CPUS", cpus)
    line = copy.deepcopy(kill.lines["full"])
    line["process"]["threads"] = threads

    def off_by(more: int) -> list[str]:
        return kill.complaints("full", put(line, memcg__usage=lambda usage: usage + more * 4096))

    assert off_by(pages) == off_by(-pages) == []
    assert off_by(pages + 1) != []
    assert off_by(-pages - 1) == ["memcg usage"]


def test_swap_is_charged_page_by_page(kill):
    """Other threads of the victim make no difference: the counter of swap has no batch."""
    line = copy.deepcopy(kill.lines["full"])
    line["process"]["threads"] = 5

    assert kill.complaints("full", put(line, memcg__swap=lambda swap: swap + 4096)) == ["memcg swap"]


def earlier(line: Any, by: float, **facts: Any) -> Any:
    """Return the line of another victim, killed so many seconds earlier."""
    other = copy.deepcopy(line)
    other["time"] = (datetime.fromisoformat(line["time"].replace("Z", "+00:00")) - timedelta(seconds=by)).isoformat()
    other["oom"]["memcg"]["path"] = facts.get("memcg", line["oom"]["memcg"]["path"])
    other["cgroup"]["path"] = facts.get("cgroup", line["cgroup"]["path"])
    return other


@pytest.mark.parametrize(
    ("by", "facts", "frees"),
    [
        (0.5, {}, True),
        (0.5, {"memcg": "/other", "cgroup": "/other"}, False),
        (0.5, {"memcg": "/other", "cgroup": "/other/below"}, False),
        (2, {}, False),
        (-0.5, {}, False),
    ],
)
def test_an_earlier_victim_may_free_nearly_all_of_its_cgroup(kill, by, facts, frees):
    line = kill.lines["full"]
    line["time"] = line["time"].replace("Z", "+00:00")  # as Python 3.10 reads it
    fallen = put(line, memcg__usage=lambda _: 4096)
    other = earlier(line, by, **facts)

    assert kill.complaints("full", fallen, [fallen, other]) == ([] if frees else ["memcg usage"])


def test_an_earlier_victim_below_the_cgroup_counts_and_one_with_a_similar_name_does_not(kill):
    line = copy.deepcopy(kill.lines["full"])
    line["time"] = line["time"].replace("Z", "+00:00")
    where = line["oom"]["memcg"]["path"]
    below = earlier(line, 0.5, memcg=f"{where}/below", cgroup=f"{where}/below/leaf")
    similar = earlier(line, 0.5, memcg=f"{where}2", cgroup=f"{where}2/leaf")

    assert kill.tolerances.others_free(line, [line, below])
    assert not kill.tolerances.others_free(line, [line, similar])


@pytest.mark.parametrize(
    "stack",
    [
        "CPU: 0 PID: 213 Comm: victim Not tainted 6.1.0-50-cloud-amd64 #1",
        "CPU: 1 UID: 1000 PID: 213 Comm: PID: 9 Comm: x Tainted: G",
    ],
)
def test_the_triggers_thread_is_the_one_whose_stack_the_kernel_prints(kill, stack):
    first = "victim invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"
    other = "CPU: 0 UID: 0 PID: 9 Comm: later"
    (report,) = kill.log.reports([first, stack, other])
    assert report.trigger == 213

    line = kill.lines["full"]
    kill.report.trigger = line["oom"]["trigger"]["tid"]
    assert kill.complaints("full", line) == []
    kill.report.trigger += 1
    assert kill.complaints("full", line) == ["trigger's thread"]


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
    assert facts["process.open_files.total"] == sum(facts[f"process.open_files.{kind}"] for kind in set(KINDS.values()))
    assert -0.1 < time.time() - facts[proc.CREATION] < 60


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


@pytest.fixture
def dying(monkeypatch) -> Callable[..., list[str]]:
    """Return a function that names what the check of dying processes complains of."""
    monkeypatch.syspath_prepend(str(ROOT / "vagrant/scenarios"))
    import _checks
    import _dying

    monkeypatch.setattr(_checks, "_schema", json_schema)

    def complaints(lines: Collection[Any], marked: Sequence[int] = (149,)) -> list[str]:
        found: list[str] = []

        def equal(what: str, got: object, expected: object) -> None:
            if got != expected:
                found.append(what)

        _dying.check_dying(lines, marked, 149, equal)
        return found

    return complaints


DYING = (FIXTURES / "dying.json").read_text()


def test_one_right_line_for_each_mark_of_a_dying_process_has_no_complaint(dying):
    line = json.loads(DYING)["full"]

    assert dying([line]) == []
    assert dying([line, line], [149, 149]) == []
    assert dying([], []) == []


@pytest.mark.parametrize("marked", [(), (149, 149), (150,)])
def test_a_line_more_or_less_than_marks_of_a_dying_process_is_noticed(dying, marked):
    assert dying([json.loads(DYING)["full"]], marked) == ["dying"]


@pytest.mark.parametrize("name", ["process.tid", "process.pid", "severity"])
def test_a_dying_process_any_wrong_fact_is_noticed(dying, name):
    assert dying([changed(json.loads(DYING)["full"], name)]) != []


@pytest.mark.parametrize(("name", "value"), [("verdict", "killed"), ("number", 41)])
def test_a_dying_process_that_is_reported_as_killed_is_noticed(dying, name, value):
    line = json.loads(DYING)["full"]
    line["oom"][name] = value

    assert dying([line]) == [f"no {name}"]


def test_a_kill_in_place_of_a_mark_is_noticed(dying):
    line = json.loads(DYING)["full"]
    line["event"] = "oom_kill"

    assert dying([line]) == ["kills", "dying"]


def test_a_context_of_a_process_that_got_no_signal_of_the_oom_killer_is_noticed(dying):
    line = json.loads(DYING)["full"]
    line["missing"].remove("process.open_files")

    assert dying([line]) == ["no context"]
