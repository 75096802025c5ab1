# SPDX-License-Identifier: Apache-2.0
"""The expected lines of the recorded kills agree with what the kernel logged of them at the time.

The expected lines are written by the code under test; the logs are not.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.witness import KILLED, MEMORY, SUMMARY, TASK, LoggedKill, logged_kill

RECORDS = Path(__file__).parents[2] / "fixtures/records"
NAMES = sorted(path.stem for path in RECORDS.glob("*.json"))
PAGE = os.sysconf("SC_PAGE_SIZE")
SIZES = ("anon", "file", "shmem", "page_tables", "total_vm")


def log(name: str) -> list[str]:
    path = RECORDS / f"{name}.log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def kills(name: str) -> dict[int, LoggedKill]:
    found = [logged_kill(match) for match in map(KILLED.search, log(name)) if match]
    return {kill.pid: kill for kill in found}


def recorded(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RECORDS / f"{name}.json").read_text().splitlines()]


def test_the_log_has_each_kill_that_the_kernel_counts_and_no_other():
    for name in NAMES:
        counted = {line["process"]["tid"] for line in recorded(name) if "number" in line["oom"]}
        assert counted == kills(name).keys(), name


@pytest.mark.parametrize("name", [name for name in NAMES if name != "dying"])
def test_an_expected_line_agrees_with_the_victims_own_line_in_the_log(name):
    for line in recorded(name):
        process, kill = line["process"], kills(name).get(line["process"]["tid"])
        if kill is None:
            assert line["oom"]["verdict"] == "shared_mm"
            continue
        assert {size: process["memory"][size] for size in SIZES} == {size: getattr(kill, size) * 1024 for size in SIZES}
        assert (process["comm"], process["user"]["id"]) == (kill.comm, kill.uid)
        assert process["oom_score_adj"] == kill.adj


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("dying", "self-minimal")])
def test_an_expected_line_agrees_with_the_report(name):
    (summary,) = filter(None, map(SUMMARY.search, log(name)))
    (memory,) = filter(None, map(MEMORY.search, log(name)))
    (line, *_) = (line for line in recorded(name) if line["process"]["tid"] == int(summary[5]))
    (task,) = (match for match in map(TASK.search, log(name)) if match and match["pid"] == summary[5])
    oom, points = line["oom"], line["oom"]["points"]

    assert (oom["memcg"]["path"], line["cgroup"]["path"]) == (summary[2], summary[3])
    assert (oom["memcg"]["usage"], oom["memcg"]["limit"]) == (int(memory["usage"]) * 1024, int(memory["limit"]) * 1024)
    assert oom["limit_bytes"] == oom["memcg"]["limit"]
    parts = (int(task["rss"]), int(task["swap"]), int(task["pgtables"]) // PAGE)
    assert (points["rss"], points["swap"], points["page_tables"]) == parts
    assert points["total"] == sum(parts) + int(task["adj"]) * (oom["limit_bytes"] // PAGE // 1000)
