# SPDX-License-Identifier: Apache-2.0
"""A program that the verifier refuses: what doctor and a tracer say, with programs that are refused on purpose."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Each turn doubles the number of values that the size of the copy may have, so that the verifier can skip no path.
TOO_LARGE = """\
	u64 target[32] = {}, size = 0;
	int turn;

#pragma unroll
	for (turn = 0; turn < 40; turn++) {
		size *= 3;
		if (bpf_get_prandom_u32() & 1)
			size += turn;
	}
	bpf_probe_read_kernel(target, (size & 255) + 1, ctx);
"""
WILD = "\t*(u64 *)(bpf_get_prandom_u32() * 8ULL) = 1;\n"
PROGRAM = "int on_signal_deliver(struct bpf_raw_tracepoint_args *ctx)\n{\n"


@pytest.fixture
def refused(tmp_path, request):
    """Return the command that runs a copy of the tree in which the kernel refuses a program of levels above minimal."""
    for name in ("ooMtrace", "bpf"):
        shutil.copytree(ROOT / name, tmp_path / name)
    source = tmp_path / "bpf/oomtrace.bpf.c"
    text = source.read_text()
    assert PROGRAM in text
    source.write_text(text.replace(PROGRAM, PROGRAM + request.param))
    run = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from ooMtrace.cli import main; sys.exit(main())"
    return [sys.executable, "-B", "-c", run]


@pytest.mark.parametrize(
    ("refused", "fact"),
    [
        (TOO_LARGE, "verifying it takes more steps than the kernel's limit"),
        (WILD, "R0 invalid mem access"),
    ],
    indirect=["refused"],
)
def test_doctor_names_the_program_that_the_verifier_refuses_and_plans_the_next_level(refused, fact):
    done = subprocess.run([*refused, "doctor", "--json"], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    level = {one["level"]: one for one in report["levels"]}["reduced"]

    assert done.stderr == ""
    assert not level["ok"]
    assert level["fact"].startswith("the kernel's verifier refused the program on_signal_deliver")
    assert fact in level["fact"]
    assert report["plan"]["level"] == "minimal"

    quick = subprocess.run([*refused, "doctor", "--json", "--quick"], capture_output=True, text=True, check=True)
    assert json.loads(quick.stdout)["plan"]["level"] in ("reduced", "full")
    required = subprocess.run([*refused, "--require", "reduced", "doctor"], capture_output=True, text=True, check=False)
    assert required.returncode == 77
    assert fact in " ".join(required.stdout.split())


@pytest.mark.parametrize("refused", [TOO_LARGE], indirect=True)
def test_a_tracer_names_the_program_that_the_verifier_refuses(refused):
    done = subprocess.run([*refused, "--require", "reduced"], capture_output=True, text=True, check=False, timeout=120)

    assert done.returncode == 77
    assert "the kernel's verifier refused the program on_signal_deliver" in done.stderr
    assert "Argument list too long" not in done.stderr
    assert done.stderr.count("\n") == 1


# Prints what is open before each probe is closed.
OPEN = """
import os, sys
from contextlib import suppress
from ooMtrace.probe import loader

def close(probe, close=loader.Probe.close):
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            print(os.readlink(f"/proc/self/fd/{fd}"), file=sys.stderr)
    close(probe)

loader.Probe.close = close
from ooMtrace.cli import main
sys.exit(main(["doctor"]))
"""


def test_doctor_loads_programs_and_attaches_nothing():
    command = [sys.executable, "-B", "-c", OPEN]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    kinds = {line.partition(":")[2] for line in done.stderr.splitlines() if line.startswith("anon_inode:")}

    assert "bpf-prog" in kinds
    assert kinds <= {"bpf-map", "bpf-prog", "btf"}
