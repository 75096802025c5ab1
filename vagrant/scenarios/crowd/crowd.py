# SPDX-License-Identifier: Apache-2.0
"""What tracing costs: how long the kernel takes for an OOM among 2,000 processes, without a tracer and with one."""

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from _scenario import GROW, VICTIM, setting
from _tracefs import TRACEFS
from _tracers import StandingTracer

PROCESSES = 2000
ROUNDS = 3
MOST = 1.5
"""By what factor tracing may lengthen that time."""

TOOK = re.compile(r"([\d.]+) us\s+\|\s+(?:out_of_memory\(\);|\})")


def one_oom() -> float:
    """Make the machine run out of memory; return the milliseconds that the kernel spent on the decision.

    The OOM killer is invoked again while the victim is still dying; the longest call is the one that killed.
    """
    (TRACEFS / "trace").write_text("")
    grower = subprocess.Popen([sys.executable, "-c", GROW.format(megabytes=8192)])
    assert grower.wait(100) < 0
    return max(float(us) for us in TOOK.findall((TRACEFS / "trace").read_text())) / 1000


def rounds() -> list[float]:
    one_oom()  # warm up: the first one reads from disk
    return [one_oom() for _ in range(ROUNDS)]


def both(measure: Callable[[], list[float]]) -> dict[str, list[float]]:
    """Measure once with the table of tasks in the kernel log, which takes most of the time, and once without."""
    found = {}
    for table in "10":
        with setting("/proc/sys/vm/oom_dump_tasks", table):
            found[table] = measure()
    return found


def programs(pid: int) -> list[tuple[int, int]]:
    """Return (runs, nanoseconds) of each BPF program that a process holds."""
    texts = [one.read_text() for one in Path(f"/proc/{pid}/fdinfo").iterdir()]
    stats = [dict(line.split(":", 1) for line in text.splitlines() if ":" in line) for text in texts]
    return [(int(one["run_cnt"]), int(one["run_time_ns"])) for one in stats if "run_time_ns" in one]


def main() -> None:
    Path("/proc/sys/vm/overcommit_memory").write_text("1")
    Path("/proc/sys/kernel/bpf_stats_enabled").write_text("1")
    began = time.monotonic()
    crowd = subprocess.Popen([VICTIM, "crowd", str(PROCESSES)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert crowd.stdin
    assert crowd.stdout
    crowd.stdin.write(b"!")
    crowd.stdin.flush()
    assert crowd.stdout.readline() == b"crowded\n"
    print(f"{PROCESSES} processes after {time.monotonic() - began:.1f} s", flush=True)
    # only this function is traced: further probes of the graph would distort the measurement
    for name, value in (("set_ftrace_filter", "out_of_memory"), ("current_tracer", "function_graph")):
        (TRACEFS / name).write_text(value)
    without = both(rounds)
    print("without", without, flush=True)
    with StandingTracer("full") as tracer:
        with_it = both(rounds)
        print("with", with_it, flush=True)
        kills = len(tracer.wait(lambda kills: len(kills) == 2 * (ROUNDS + 1)))
        for runs, nanoseconds in programs(tracer.pid()):
            print(f"program: {runs} runs, {nanoseconds / 1e6:.3f} ms, {nanoseconds / 1e6 / kills:.3f} ms per kill")
    assert kills == 2 * (ROUNDS + 1), kills
    ratios = {table: statistics.median(with_it[table]) / statistics.median(without[table]) for table in "10"}
    print(f"ratio with the table of tasks {ratios['1']:.2f}, without it {ratios['0']:.2f}")
    assert ratios["1"] <= MOST  # the default; printing the table takes most of the time


if __name__ == "__main__":
    main()
