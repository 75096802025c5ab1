# SPDX-License-Identifier: Apache-2.0
"""This kernel's verifier accepts the programs for other machines: more CPUs, kprobes, arm64, other compilers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.machine import machine

ROOT = Path(__file__).parent.parent.parent
LIMIT = 100_000
"""Instructions that the verifier follows in one program: a tenth of what it admits (BPF_COMPLEXITY_LIMIT_INSNS)."""

SUITES = os.environ.get("OOMTRACE_SUITES", "trixie").split()
"""Debian suites whose BCC and LLVM compile the programs, too. trixie: LLVM 19."""

# In a process of its own: BCC's compiler would stay mapped in this one and count as the tracers' memory.
LOAD = """
import re, sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from ooMtrace.kernel.features import observe
from ooMtrace.kernel.plan import plan
from ooMtrace.probe import loader
from ooMtrace.probe.compiler import compile_here, macro_flags
from ooMtrace.settings import Settings

arch, limit = sys.argv[1], int(sys.argv[2])

def compile_image(plan, release):  # what the compiler protects a kernel for x86 with, it refuses for others
    flags = [*macro_flags(plan), "-fcf-protection=none"]
    return compile_here(plan.program, release, tuple(plan.addresses), flags, arch or None)

loader.compile_image = compile_image

def load(features, settings, limit=limit):
    chosen = plan(features, settings)
    assert chosen.level == settings.level, chosen
    with closing(loader.Probe(chosen, features.release, attach=False)) as probe:
        steps = {}
        for name, fd in probe.program_fds.items():
            info = Path(f"/proc/self/fdinfo/{fd}").read_text()
            if found := re.search(r"^verified_insns:\\t([0-9]+)$", info, re.MULTILINE):  # since 5.16
                steps[name] = int(found[1])
        print(settings.level, features.possible_cpus, steps)
        assert max(steps.values(), default=0) < limit, steps

features = observe()
full = replace(features, kprobes=True)
symbols = {**features.symbols, "__per_cpu_offset": (0xFFFFFFFF82000000, 0xFFFFFFFF82000100)}
load(full, Settings(level="full"))
load(full, Settings(level="full", env=("*",), lifecycle=True))
load(full, Settings(level="minimal"))
for cpus, times in ((2, 1), (64, 1), (1024, 4)):  # the counters of each CPU are summed in a loop
    load(replace(features, possible_cpus=cpus, symbols=symbols), Settings(level="reduced"), times * limit)
"""


def run(command: Callable[..., subprocess.CompletedProcess[str]], arch: str) -> None:
    done = command("-W", "ignore", "-c", LOAD, arch, str(LIMIT))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 6
    print(done.stdout)


@pytest.mark.parametrize("arch", ["", "arm64"])
def test_the_verifier_accepts_all_programs_after_a_tenth_of_its_limit(arch):
    def here(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)

    run(here, arch)


@pytest.mark.parametrize("suite", SUITES)
def test_the_verifier_accepts_what_other_compilers_make_of_the_programs(tmp_path, suite):
    with machine(suite, tmp_path) as there:
        assert there.run("mount", "-t", "tracefs", "tracefs", "/sys/kernel/tracing").returncode == 0
        for arch in ("", "arm64"):
            run(lambda *arguments: there.run("env", "PYTHONPATH=/mnt", "python3", "-B", *arguments), arch)
