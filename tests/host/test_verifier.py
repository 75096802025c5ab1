# SPDX-License-Identifier: Apache-2.0
"""Programs that this machine does not run must pass its verifier all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own: BCC's compiler would stay mapped in this one, and count as the tracers' memory.
LOAD = """
from dataclasses import replace
from ooMtrace.kernel.features import observe
from ooMtrace.kernel.plan import plan
from ooMtrace.probe.loader import Probe
from ooMtrace.settings import Settings
features = observe()
symbols = {**features.symbols, "__per_cpu_offset": (0xFFFFFFFF82000000, 0xFFFFFFFF82000100)}
features = replace(features, possible_cpus=CPUS, symbols=symbols)
Probe(plan(features, Settings(level="reduced")), features.release).close()
"""

LOAD_KPROBES = """
import bcc
from dataclasses import replace
from ooMtrace.kernel.features import observe
from ooMtrace.kernel.plan import plan
from ooMtrace.probe.loader import Probe

def load_only(self, hook):
    kind = bcc.BPF.RAW_TRACEPOINT if hook.kind == "raw_tracepoint" else bcc.BPF.KPROBE
    self._bpf.load_func(hook.program.encode(), kind)

Probe._attach = load_only
features = replace(observe(), kprobes=True)
chosen = plan(features)
assert chosen.level == "full", chosen
Probe(chosen, features.release).close()
"""


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("cpus", [2, 64, 1024])
def test_the_counters_of_many_cpus_can_be_added(cpus):
    run(LOAD.replace("CPUS", str(cpus)))


def test_the_kprobes_of_level_full_load_where_none_can_be_attached():
    run(LOAD_KPROBES)
