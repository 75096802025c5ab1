# SPDX-License-Identifier: Apache-2.0
"""What reading a victim costs, by the kernel's own times (bpf_stats_enabled), and reading the count of kills."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.tracer import RunningTracer

from ooMtrace.probe import libbcc_bpf
from ooMtrace.probe.image import MapDefinition
from ooMtrace.probe.libbcc_bpf import Map, create_map, map_memory

COST = Path(__file__).parent.parent / "support/cost.py"
BUDGET_US = 300
NOISE = 10
"""Other processes run on the machine, too; the figures themselves are printed."""


def test_a_victim_with_1024_descriptors_is_read_in_time_and_other_signals_cost_almost_nothing(record_property):
    done = subprocess.run([sys.executable, COST], capture_output=True, text=True, check=True)
    cost = json.loads(done.stdout)
    print(cost)
    for kind in ("file", "socket"):
        record_property(f"{kind}_us", cost[kind]["median_us"])
        assert cost[kind]["descriptors"] == 1024
        assert 0 < cost[kind]["median_us"] < BUDGET_US * NOISE
    # one look-up in a map, and no reading of a process
    assert cost["others_us"] < cost["file"]["median_us"] / 10


def test_an_array_is_memory_that_shows_its_value_and_others_are_not():
    definitions = (MapDefinition("counter", 2, 4, 16, 1, flags) for flags in (libbcc_bpf.MMAPABLE, 0))
    shared, other = (Map(create_map(definition), definition) for definition in definitions)
    value = (7).to_bytes(8, sys.byteorder) + (1 << 63).to_bytes(8, sys.byteorder)
    memory = map_memory(shared.fd)

    shared.update(bytes(4), value)

    assert memory[:16] == shared.lookup(bytes(4)) == value
    with pytest.raises(TypeError, match="readonly"):
        memory[0] = 1
    with pytest.raises(OSError, match="Invalid argument"):
        map_memory(other.fd)
    memory.close()
    os.close(shared.fd)
    os.close(other.fd)


def test_a_tracer_reads_the_count_of_kills_without_a_system_call(tmp_path):
    with RunningTracer(tmp_path) as tracer:
        assert "anon_inode:bpf-map" in Path(f"/proc/{tracer.process.pid}/maps").read_text()
