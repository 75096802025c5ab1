# SPDX-License-Identifier: Apache-2.0
"""What the reading of a victim's context costs in the kernel, by the kernel's own account; prints JSON.

A program of its own, for BCC must not be loaded into the tests' process.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from ooMtrace.kernel.features import observe
from ooMtrace.kernel.plan import plan
from ooMtrace.kernel.scratch_cgroup import scratch_cgroup
from ooMtrace.probe.loader import Probe

ROUNDS = 5
DESCRIPTORS = 1024
OTHERS = 200
STATS = Path("/proc/sys/kernel/bpf_stats_enabled")
VICTIM = f"""
import os, socket, sys
kept = [os.open("/dev/null", 0), os.open("/", 0)] if sys.argv[1] == "file" else []
while len(os.listdir("/proc/self/fd")) - 1 < {DESCRIPTORS}:
    kept += [os.open("/etc/passwd", 0)] if sys.argv[1] == "file" else [socket.socket(type=socket.SOCK_DGRAM)]
print(len(os.listdir("/proc/self/fd")) - 1, flush=True)
sys.stdin.read(1)
hoard = bytearray(256 << 20)
"""


def account(program: int) -> tuple[int, int]:
    """Return nanoseconds and runs of a BPF program of ours."""
    lines = Path(f"/proc/self/fdinfo/{program}").read_text().splitlines()
    said = dict(line.split(":\t") for line in lines if ":\t" in line)
    return int(said["run_time_ns"]), int(said["run_cnt"])


def killed(kind: str, program: int) -> tuple[int, float]:
    """Kill one victim; return its descriptors and the microseconds."""
    with scratch_cgroup(f"oomtrace-cost-{os.getpid()}") as cgroup:
        cgroup.limit(48 << 20)
        command = [sys.executable, "-c", VICTIM, kind]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as victim:
            assert victim.stdin
            assert victim.stdout
            descriptors = int(victim.stdout.readline())
            cgroup.join(victim.pid)
            before, _ = account(program)
            victim.stdin.write(b"!")
            victim.stdin.flush()
            victim.wait()
            time.sleep(0.1)
            return descriptors, (account(program)[0] - before) / 1000


def others(program: int) -> float:
    """Return the microseconds for a SIGKILL that the OOM killer has not sent."""
    before = account(program)
    for _ in range(OTHERS):
        with subprocess.Popen(["sleep", "60"]) as sleeper:
            sleeper.kill()
    after = account(program)
    return (after[0] - before[0]) / 1000 / max(after[1] - before[1], 1)


def main() -> None:
    features = observe()
    probe = Probe(plan(features), features.release)
    program = probe._bpf.funcs[b"on_signal_deliver"].fd
    before = STATS.read_text()
    STATS.write_text("1")
    try:
        told: dict[str, object] = {"others_us": others(program)}
        for kind in ("file", "socket"):
            rounds = [killed(kind, program) for _ in range(ROUNDS)]
            told[kind] = {
                "descriptors": rounds[0][0],
                "median_us": statistics.median(microseconds for _, microseconds in rounds),
            }
    finally:
        STATS.write_text(before)
        probe.close()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
