# SPDX-License-Identifier: Apache-2.0
"""A user who has processes killed in many ways to delay the lines of others, on a host with many processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pytest
from support.crowd import compile_crowd, idle_processes, play
from support.tracer import RunningTracer, victim_of

IDLE, KILLS, CGROUPS = 3000, 200, 4
LATEST_S = 10.0
"""Ten times the delay that is allowed on an idle machine: other processes may need the CPUs."""


@pytest.fixture(scope="module")
def crowd() -> Iterator[Path]:
    with TemporaryDirectory(prefix="oomtrace-crowd-") as folder:
        Path(folder).chmod(0o755)  # its victims belong to other users
        yield compile_crowd(Path(folder))


def test_victims_in_new_network_namespaces_neither_delay_nor_lose_the_lines_of_others(crowd, tmp_path, cgroup):
    cgroups = [cgroup() for _ in range(CGROUPS + 1)]
    with idle_processes(crowd, IDLE), RunningTracer(tmp_path) as tracer:
        scene = play(
            crowd, cgroups[:-1], cgroups[-1], KILLS, lambda: {victim_of(line) for line in tracer.lines()}, LATEST_S
        )
        lines = tracer.lines_of({*scene.hostile, *scene.bystanders})

    # The tracer's own check at its end: no line is lost, backfilled, preceded by a loss or out of sequence.
    delays = [LATEST_S if delay is None else delay for delay in scene.bystanders.values()]
    assert len(lines) == len(scene.hostile) + len(scene.bystanders)
    assert len(scene.hostile) == KILLS
    assert max(delays) < LATEST_S, delays
    assert median(delays) < LATEST_S / 5, delays
