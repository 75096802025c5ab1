# SPDX-License-Identifier: Apache-2.0
"""This kernel's verifier accepts the programs for other machines: more CPUs, kprobes, --env, --lifecycle."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own: BCC's compiler would stay mapped in this one and count as the tracers' memory.
LOAD = """
import bcc
from dataclasses import replace
from ooMtrace.kernel.features import observe
from ooMtrace.kernel.plan import plan
from ooMtrace.probe.loader import Probe
from ooMtrace.settings import Settings
features = observe()
"""

LOAD_FOR_CPUS = """
symbols = {**features.symbols, "__per_cpu_offset": (0xFFFFFFFF82000000, 0xFFFFFFFF82000100)}
features = replace(features, possible_cpus=CPUS, symbols=symbols)
Probe(plan(features, Settings(level="reduced")), features.release).close()
"""

LOAD_KPROBES = """
import re
from pathlib import Path

def load_only(self, hook):
    kind = bcc.BPF.RAW_TRACEPOINT if hook.kind == "raw_tracepoint" else bcc.BPF.KPROBE
    self._bpf.load_func(hook.program.encode(), kind)

Probe._attach = load_only
chosen = plan(replace(features, kprobes=True), SETTINGS)
assert chosen.level == "full", chosen
probe = Probe(chosen, features.release)
for name, function in probe._bpf.funcs.items():
    info = Path(f"/proc/self/fdinfo/{function.fd}").read_text()
    if found := re.search(r"^verified_insns:\\t([0-9]+)$", info, re.MULTILINE):  # since 5.16
        assert int(found[1]) < LIMIT, (name, found[1])
probe.close()
"""
LIMIT = 100_000
"""Instructions that the verifier follows in one program: a tenth of what it admits (BPF_COMPLEXITY_LIMIT_INSNS)."""


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", LOAD + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("cpus", [2, 64, 1024])
def test_the_verifier_accepts_the_summing_of_the_counters_of_many_cpus(cpus):
    run(LOAD_FOR_CPUS.replace("CPUS", str(cpus)))


@pytest.mark.parametrize("settings", ["Settings()", "Settings(env=('*',), lifecycle=True)"])
def test_the_verifier_accepts_the_kprobes_of_level_full_after_a_tenth_of_its_limit(settings):
    run(LOAD_KPROBES.replace("SETTINGS", settings).replace("LIMIT", str(LIMIT)))
