# SPDX-License-Identifier: Apache-2.0
"""Measure what oomtrace costs on this host, and write it to docs/cost.md: `make bench-host`.

Other processes run on the host, and may be killed meanwhile: each figure is the best of several rounds, and times in
the kernel are divided by the kernel's own count of kills.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from support.storm import storm
from support.victims import Victim, compile_victim
from support.witness import oom_kill_count

from bench.bpf import bpf_statistics, empty_program
from bench.guest import kernel_ns, latencies
from bench.kills import marks, paced, storm_of
from bench.plot import chart
from bench.table import between, table
from bench.tool import Command, Tool, program_counters
from ooMtrace.kernel.scratch_cgroup import scratch_cgroup

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
OOMTRACE = Command((str(Path(sys.executable).with_name("oomtrace")),), "--ready-file")
NO_SIGKILLS = ("--sigkill", "none")
ROUNDS, KILLS = 8, 60
SIGNALS, SIGNAL_ROUNDS, STARTS = 20_000, 30, 3
MANY, AT_ONCE, MANY_TIMEOUT_S = 3000, 8, 120
DEPTHS = (1, 10, 20, 40, 80, 120)
DESCRIPTORS = (8, 64, 128, 256, 512, 1024, 2048)
PAUSES_S = (0.2, 0.1, 0.05, 0.02, 0.01, 0.0)
GROWTH_KILLS = 12


def main() -> int:
    """Measure, and write the page and the charts."""
    with TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        (folder / "cache").mkdir(mode=0o700)
        os.environ["CACHE_DIRECTORY"] = str(folder / "cache")  # so that the first start compiles
        take_marks = stack.enter_context(marks())
        host = Host(folder, take_marks)
        rows = [["what", "cost"], *host.start(), *host.signals(), *host.kills(), *host.many()]
        for name, (title, x_title, y_title, lines) in host.growth().items():
            (DOCS / f"growth-{name}.svg").write_text(chart(title, x_title, y_title, lines))
    page = DOCS / "cost.md"
    page.write_text(between(page.read_text(), "make bench-host", table(rows)))
    print(table(rows))
    return 0


class Host:
    """The measurements on this host.

    Args:
        folder: Where programs are compiled to.
        take_marks: Returns the kernel's marks since its last call.
    """

    def __init__(self, folder: Path, take_marks: Callable[[], dict[int, int]]) -> None:
        self._victim = compile_victim(folder)
        self._load = folder / "load"
        subprocess.run(["cc", "-O1", "-o", self._load, HERE / "load.c"], check=True)
        self._take_marks = take_marks

    def start(self) -> list[list[str]]:
        """Measure starts and memory."""
        found = []
        for _ in range(STARTS):
            with Tool(OOMTRACE) as tool:
                ready = tool.wait_ready()
                found.append((ready, tool.cpu_s()))
                time.sleep(1)
                memory = tool.memory_kb()
        (first, _), (later, cpu) = found[0], min(found[1:])
        sizes = " / ".join(f"{size / 1024:.1f}" for size in memory.values())
        return [
            ["first start, which compiles: from exec to attached probes", f"{first:.2f} s"],
            ["later start", f"{later:.2f} s, {cpu:.2f} s of CPU time"],
            ["memory then: RSS / PSS / private", f"{sizes} MiB"],
        ]

    def signals(self) -> list[list[str]]:
        """Measure what an ordinary signal costs, which oomtrace has nothing to do with."""
        with bpf_statistics(), empty_program("signal_generate") as program:
            empty = self._ns_per_run(lambda: {0: program_counters(Path(f"/proc/self/fdinfo/{program}"))})
        rows = []
        for title, more in (("default", ()), ("--sigkill none", NO_SIGKILLS)):
            nobody = self._signal_ns()
            with Tool(OOMTRACE, more) as tool:
                tool.wait_ready()
                watched = self._signal_ns()
                with bpf_statistics():
                    each = self._ns_per_run(tool.programs)
            nobody = min(nobody, self._signal_ns())
            text = f"{watched - nobody:.0f} ns of {watched:.0f}; in the two programs {2 * (each - empty):.0f} ns"
            rows.append([f"an ordinary signal, {title}", text])
        rows.append(["an empty program in its place, by the kernel's own measurement", f"{empty:.0f} ns"])
        return rows

    def _signal_ns(self) -> float:
        command = [str(self._load), "signal", str(SIGNALS)]
        return min(float(subprocess.check_output(command)) for _ in range(SIGNAL_ROUNDS))

    def _ns_per_run(self, counters: Callable[[], dict[int, dict[str, int]]]) -> float:
        best = float("inf")
        for _ in range(SIGNAL_ROUNDS // 3):
            before = counters()
            subprocess.check_output([str(self._load), "signal", str(SIGNALS)])
            after = counters()
            runs = sum(program["run_cnt"] - before[key]["run_cnt"] for key, program in after.items())
            best = min(best, kernel_ns(before, after) / runs)
        return best

    def kills(self) -> list[list[str]]:
        """Measure kills one at a time, and what the verifier followed."""
        with Tool(OOMTRACE) as tool:
            tool.wait_ready()
            with bpf_statistics():
                each = [self._kernel_us(tool, lambda: self._storm(KILLS)) for _ in range(ROUNDS)]
                verified = sum(program.get("verified_insns", 0) for program in tool.programs().values())
            cpu, before = tool.cpu_s(), oom_kill_count()
            self._take_marks()
            since = tool.count()
            pids = paced(self._victim, KILLS, 0.02)
            lines = tool.wait_kills(pids, since, 10)
            spent = (tool.cpu_s() - cpu) / (oom_kill_count() - before)
            latency = latencies(self._take_marks(), lines)
        return [
            ["a kill, in the kernel", f"{min(each):.1f} us"],
            ["a line, CPU time", f"{spent * 1000:.1f} ms"],
            ["from mark to line, one kill at a time: median / p99", f"{latency['p50']:.1f} / {latency['p99']:.1f} ms"],
            ["instructions that the verifier followed", f"{verified:,}"],
        ]

    def _storm(self, count: int, at_once: int = 1) -> list[int]:
        return storm_of(self._victim, count, at_once)

    @staticmethod
    def _kernel_us(tool: Tool, work: Callable[[], object]) -> float:
        before, killed = tool.programs(), oom_kill_count()
        work()
        return kernel_ns(before, tool.programs()) / max(oom_kill_count() - killed, 1) / 1000

    def many(self) -> list[list[str]]:
        """Make thousands of kills as fast as they come."""
        with Tool(OOMTRACE) as tool:
            tool.wait_ready()
            began = time.monotonic()
            pids = self._storm(MANY, AT_ONCE)
            took = time.monotonic() - began
            lines = tool.wait_kills(pids, 0, MANY_TIMEOUT_S)
            named = len({line.pid for line in lines} & set(pids))
            lost = sum(
                line.event["lost"]["count"] for line in lines if line.event and line.event["event"] == "oom_lost"
            )
            memory = tool.memory_kb()["rss"] / 1024
        text = f"{named:,} lines, {lost} lost, {memory:.0f} MiB resident after it"
        return [[f"{MANY:,} kills as fast as they come ({MANY / took:.0f}/s)", text]]

    def growth(self) -> dict[str, tuple[str, str, str, dict[str, list[tuple[float, float]]]]]:
        """Return a chart for each number that a kill's cost may grow with."""
        with Tool(OOMTRACE) as tool:
            tool.wait_ready()
            with bpf_statistics():
                depths = [(float(depth), self._deep_us(tool, depth)) for depth in DEPTHS]
                files = [(float(count), self._files_us(tool, count)) for count in DESCRIPTORS]
            rates = [self._rate(tool, pause) for pause in PAUSES_S]
        return {
            "depth": ("Depth of the victim's cgroup", "cgroups below the root", "us in the kernel", {"a kill": depths}),
            "files": ("Open files of the victim", "file descriptors", "us in the kernel", {"a kill": files}),
            "rate": ("Kills per second", "kills per second", "ms of CPU time per line", {"a line": rates}),
        }

    def _deep_us(self, tool: Tool, depth: int) -> float:
        with ExitStack() as stack:
            path = f"bench-depth-{depth}"
            for _ in range(depth):
                cgroup = stack.enter_context(scratch_cgroup(path))
                path += "/d"
            cgroup.limit(2 << 20)
            return min(self._kernel_us(tool, lambda: storm(self._victim, cgroup, GROWTH_KILLS)) for _ in range(3))

    def _files_us(self, tool: Tool, count: int) -> float:
        def kill() -> None:
            with scratch_cgroup("bench-files") as cgroup:
                cgroup.limit(16 << 20)
                Victim(self._victim, "files", cgroup, count).go().end()

        return min(self._kernel_us(tool, kill) for _ in range(GROWTH_KILLS))

    def _rate(self, tool: Tool, pause_s: float) -> tuple[float, float]:
        began, cpu, killed, since = time.monotonic(), tool.cpu_s(), oom_kill_count(), tool.count()
        pids = paced(self._victim, KILLS, pause_s) if pause_s else self._storm(4 * KILLS, AT_ONCE)
        took = time.monotonic() - began
        tool.wait_kills(pids, since, 10)
        kills = oom_kill_count() - killed
        return kills / took, (tool.cpu_s() - cpu) / kills * 1000


if __name__ == "__main__":
    sys.exit(main())
