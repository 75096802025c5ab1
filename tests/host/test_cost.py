# SPDX-License-Identifier: Apache-2.0
"""What reading a victim costs. The times are the kernel's own (bpf_stats_enabled)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
