# SPDX-License-Identifier: Apache-2.0
"""Measures what reading a victim's context costs, by the kernel's BPF statistics; prints JSON.

A program of its own, because BCC must not be loaded into the tests' process.
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

KILLS = 5
DESCRIPTORS = 1024
OTHER_SIGNALS = 200
STATS = Path("/proc/sys/kernel/bpf_stats_enabled")
VICTIM = f"""
import os, socket, sys
files = [os.open("/dev/null", 0), os.open("/", 0)] if sys.argv[1] == "file" else []
while len(os.listdir("/proc/self/fd")) - 1 < {DESCRIPTORS}:
    files += [os.open("/etc/passwd", 0)] if sys.argv[1] == "file" else [socket.socket(type=socket.SOCK_DGRAM)]
print(len(os.listdir("/proc/self/fd")) - 1, flush=True)
sys.stdin.read(1)
memory = bytearray(256 << 20)
"""


def statistics_of(program: int) -> tuple[int, int]:
    """Return the nanoseconds and runs of one of our BPF programs, given its file descriptor."""
    lines = Path(f"/proc/self/fdinfo/{program}").read_text().splitlines()
    fields = dict(line.split(":\t") for line in lines if ":\t" in line)
    return int(fields["run_time_ns"]), int(fields["run_cnt"])


def measure_kill(kind: str, program: int) -> tuple[int, float]:
    """Kill one victim; return the number of its descriptors and the microseconds spent."""
    with scratch_cgroup(f"oomtrace-cost-{os.getpid()}") as cgroup:
        cgroup.limit(48 << 20)
        command = [sys.executable, "-c", VICTIM, kind]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as victim:
            assert victim.stdin
            assert victim.stdout
            descriptors = int(victim.stdout.readline())
            cgroup.join(victim.pid)
            before, _ = statistics_of(program)
            victim.stdin.write(b"!")
            victim.stdin.flush()
            victim.wait()
            time.sleep(0.1)
            return descriptors, (statistics_of(program)[0] - before) / 1000


def measure_other_signal(program: int) -> float:
    """Return the microseconds spent on a SIGKILL that the OOM killer did not send."""
    before = statistics_of(program)
    for _ in range(OTHER_SIGNALS):
        with subprocess.Popen(["sleep", "60"]) as sleeper:
            sleeper.kill()
    after = statistics_of(program)
    return (after[0] - before[0]) / 1000 / max(after[1] - before[1], 1)


def main() -> None:
    features = observe()
    probe = Probe(plan(features), features.release)
    program = probe.program_fds["on_signal_deliver"]
    before = STATS.read_text()
    STATS.write_text("1")
    try:
        costs: dict[str, object] = {"others_us": measure_other_signal(program)}
        for kind in ("file", "socket"):
            kills = [measure_kill(kind, program) for _ in range(KILLS)]
            costs[kind] = {
                "descriptors": kills[0][0],
                "median_us": statistics.median(microseconds for _, microseconds in kills),
            }
    finally:
        STATS.write_text(before)
        probe.close()
    print(json.dumps(costs))


if __name__ == "__main__":
    main()
