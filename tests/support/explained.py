# SPDX-License-Identifier: Apache-2.0
"""Lines of kills that were made on purpose, each with its cause, and the texts that explain them.

    PYTHONPATH=tests .venv/bin/python -m support.explained

writes tests/fixtures/explain/NAME.txt, to be read aloud before they are committed.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from ooMtrace.explain.story import explain

FIXTURES = Path(__file__).parents[1] / "fixtures"
FOLDER = FIXTURES / "explain"
MIB = 1 << 20
Line = dict[str, Any]

RECORDED = {
    "spike": "spike",
    "too-small": "too-small",
    "repeated": "repeated",
    "shared-memory": "shared-memory",
    "tmpfs": "not-held",
    "tmpfs-log": "shared-memory",
    "page-tables": "page-tables",
    "mapped-files": "mapped-files",
    "neighbour": "neighbour",
    "adj-log": "adj",
    "many-log": "many",
    "workers-log": "workers",
    "sigkill": "memory-killer",
    "sidekiq": "spike",
    "celery": "spike",
    "gunicorn": "spike",
    "puma": "spike",
    "php-fpm": "spike",
    "postgresql": "postgresql",
    "jvm": "jvm-heap",
    "node": "node-heap",
}
"""Recorded on this host by tests/fixtures/record_explained.py, and the rule that must come first."""

FROM_LOGS = {
    "vm-6.18-global": "unlimited",
    "rhel7-3.10-global-swap": "overcommitted",
    "vm-5.10.223-cpuset": "nodes",
    "vm-6.18-mempolicy": "nodes",
    "vm-5.10.223-sysrq": "sysrq",
    "vm-5.10.262-group": "group",
    "vm-5.10.223-nested": "neighbour",
    "vm-6.1-spared": "exempt",
    "vm-6.1-no-kill": "unkillable",
    "vm-6.12-swap": "too-small",
    "syzbot-4.18-limit-0": "zero-limit",
    "vm-6.18-demo": None,
}
"""First lines of tests/fixtures/kmsg, from real logs of other kernels."""

DERIVED = {
    "leak": "leak",
    "pod": "repeated",
    "full": "adj",
    "qos": "qos",
    "jvm-outside": "jvm-outside",
    "unit": "too-small",
    "go": "go-limit",
    "group-member": "group-member",
    "php-fpm-pool": "workers",
    "lost": "lost",
    "exit": None,
}
"""Made from recorded lines by `derived`."""

CAUSES: dict[str, str | None] = {**RECORDED, **FROM_LOGS, **DERIVED}
"""The name of each line, and of the rule that must make its first suggestion; None: there is none."""


def line(name: str) -> Line:
    """Return a line by its name in CAUSES."""
    if name in DERIVED:
        return derived(name)
    if name in FROM_LOGS:
        return json.loads((FIXTURES / "kmsg" / f"{name}.json").read_text())[0]
    return json.loads((FOLDER / f"{name}.json").read_text())


def derived(name: str) -> Line:
    """Change a recorded line to what cannot be recorded on this host."""
    if name == "group-member":
        return json.loads((FIXTURES / "kmsg/vm-5.10.262-group.json").read_text())[1]
    if name == "lost":
        return copy.deepcopy(LOST)
    base, facts = CHANGES[name]
    return changed(base, facts, without=("missing", "derived") if name == "full" else ())


POD: Line = {
    "container": {
        "id": "72e915bf" * 8,
        "runtime": "containerd",
        "image": {"name": "registry.example/shop/web:41"},
    },
    "k8s": {
        "namespace": {"name": "prod"},
        "pod": {"uid": "6f1b2c3d-0000-4000-8000-000000000001", "name": "web-7d9f8b6c5d-abcde"},
        "container": {"name": "worker", "restart_count": 4},
        "workload": {"kind": "Deployment", "name": "web"},
        "qos": "burstable",
    },
}

FULL: Line = {
    "fidelity": "full",
    "oom.constraint": "CONSTRAINT_MEMCG",
    "oom.limit_bytes": 96 * MIB,
    "oom.points": {"total": 20339, "rss": 8312, "swap": 0, "page_tables": 27, "adj": 12000, "exact": True},
    "oom.weighed": 2,
    "oom.candidates": [
        {"pid": 4466, "comm": "report", "points": 20339, "oom_score_adj": 500, "memory": 8339 * 4096},
        {"pid": 4467, "comm": "import", "points": 16900, "oom_score_adj": 0, "memory": 16900 * 4096},
    ],
    "process.memory": {"anon": 7000 * 4096, "file": 1312 * 4096, "shmem": 0, "swap": 0, "page_tables": 27 * 4096},
}


UNIT: Line = {
    "systemd": {
        "unit": "import.service",
        "slice": "system.slice",
        "manager": "system",
        "oom_policy": "stop",
        "stops_unit": True,
    },
    "oom.limit_owner": "unit",
    "oom.memcg.path": "/system.slice/import.service",
    "cgroup.path": "/system.slice/import.service",
}

LOST: Line = {
    "schema": "oomtrace/1",
    "event": "oom_lost",
    "id": "lost-1",
    "seq": 9,
    "observed": "2026-11-28T03:00:04.500000Z",
    "message": "",
    "fidelity": "reduced",
    "host": {"name": "node7"},
    "lost": {"count": 3, "from": "2026-11-28T03:00:00.000000Z", "to": "2026-11-28T03:00:04.500000Z"},
}

CHANGES: dict[str, tuple[str, Line]] = {
    "leak": ("spike", {"process.creation.time": "2026-11-25T04:11:20.000000Z"}),
    "pod": ("repeated", {**POD, "oom.limit_owner": "container", "process.vpid": 7}),
    "unit": ("too-small", UNIT),
    "jvm-outside": ("jvm", {"process.command_args": ["java", "-XX:MaxRAMPercentage=75.0", "-jar", "shop.jar"]}),
    "go": ("too-small", {"process.environment": {"GOMEMLIMIT": "31MiB"}}),
    "php-fpm-pool": ("workers-log", {"job": {"system": "php-fpm", "role": "worker", "name": "www"}}),
    "full": ("adj-log", FULL),
    "qos": ("rhel7-3.10-global-swap", {**POD, "k8s.qos": "besteffort", "process.oom_score_adj": 1000}),
    "exit": ("spike", {"event": "oom_exit", "exit": {"kill": "6b1f0c52-7-13193", "after_us": 9531}}),
}
"""Which line is changed, and the facts that it gets, by their dotted names."""


def changed(name: str, facts: Line, without: tuple[str, ...] = ()) -> Line:
    """Return a copy of a line with these facts, by their dotted names."""
    result = {key: value for key, value in copy.deepcopy(line(name)).items() if key not in without}
    for path, value in facts.items():
        *parents, last = path.split(".")
        part = result
        for parent in parents:
            part = part.setdefault(parent, {})
        part[last] = copy.deepcopy(value)
    return result


if __name__ == "__main__":
    for each in CAUSES:
        (FOLDER / f"{each}.txt").write_text(explain(line(each)))
