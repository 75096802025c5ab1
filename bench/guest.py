# SPDX-License-Identifier: Apache-2.0
"""What runs in the guest: each tool alone, then all of them on the same kills. Writes result.json.

python -m bench.guest FOLDER PROGRAMS
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from bench.bpf import bpf_statistics
from bench.kills import SCENES, crowds, marks, paced, storm_of
from bench.tool import Command, OutputLine, Tool

IDLE_S = 60
PACED, PAUSE_S = 20, 0.1
STORM, AT_ONCE = 100, 4
SIGNALS, EXECS, ROUNDS = 2000, 100, 3
TIMEOUT_S = 20
BEFORE_SCENE_S = 6
"""The kernel prints ten full reports in five seconds (oom_rs)."""
PIPED_KILLS, PIPED_S = 3, 5
CROWDS = (10, 1000, 2500, 5000, 10_000, 20_000)
"""Processes among which the kernel chooses."""
LIBBPF = next((name for name in ("/usr/sbin/oomkill-libbpf", "/usr/sbin/oomkill") if Path(name).exists()), "oomkill")
"""Its names in Debian 13 and 12."""
COMMANDS = {
    "oomtrace": Command((str(Path(sys.executable).with_name("oomtrace")),), "--ready-file"),
    "oomkill-bpfcc": Command(("oomkill-bpfcc",), unbuffered={"PYTHONUNBUFFERED": "1"}),
    "oomkill.bt": Command(("oomkill.bt",)),
    "oomkill (libbpf)": Command((LIBBPF,), wrapper=("stdbuf", "-oL")),
}
PRELOADED = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/python3", "/opt/oomtrace")
LARGEST = 200 << 20


def main() -> None:
    """Run all steps; one that fails leaves its error in the result."""
    os.environ.pop("PYTHONPATH", None)  # it is for this program, not for the tools
    folder, programs = Path(sys.argv[1]), Path(sys.argv[2])
    Path("/proc/sys/vm/overcommit_memory").write_text("1")
    # the benchmark itself must survive what it does
    Path("/proc/self/oom_score_adj").write_text("-1000")
    _preload()
    print(f"prepared {time.clock_gettime(time.CLOCK_BOOTTIME):.0f} s after the boot", flush=True)
    result: dict[str, Any] = {"kernel": os.uname().release, "versions": _versions(), "tools": {}}
    with marks() as take_marks:
        bench = Bench(programs, take_marks)
        steps: list[tuple[str, Callable[[], object]]] = [("nobody", bench.nobody)]
        steps += [(name, partial(bench.alone, name)) for name in COMMANDS]
        steps += [("together", bench.together), ("growth", bench.growth)]
        for name, step in steps:
            began = time.monotonic()
            try:
                found = step()
            except (RuntimeError, AssertionError, OSError) as error:
                found = {"error": str(error)}
            (result["tools"] if name in COMMANDS else result)[name] = found
            (folder / "result.json").write_text(json.dumps(result, indent=1))
            # on the console, too, in case the guest does not get to its end
            print(f"{name}: {time.monotonic() - began:.0f} s: {json.dumps(found)}", flush=True)


def _preload() -> None:
    """Read what the tools consist of: the emulated disk is no part of what they cost."""
    for top in PRELOADED:
        for folder, _, names in os.walk(top):
            for name in names:
                file = Path(folder, name)
                if file.is_file() and not file.is_symlink() and file.stat().st_size < LARGEST:
                    with file.open("rb") as content:
                        os.posix_fadvise(content.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def _versions() -> dict[str, str]:
    packages = ("bpfcc-tools", "bpftrace", "libbpf-tools", "python3-bpfcc")
    command = ["dpkg-query", "--show", "--showformat", "${Package} ${Version}\n", *packages]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(row.split() for row in listed.splitlines())


class Bench:
    """The steps of the benchmark.

    Args:
        programs: The folder of `victim` and `load`.
        take_marks: Returns the kernel's marks since its last call.
    """

    def __init__(self, programs: Path, take_marks: Callable[[], dict[int, int]]) -> None:
        self._victim, self._load = programs / "victim", programs / "load"
        self._take_marks = take_marks

    def nobody(self) -> dict[str, Any]:
        """Measure what the same work costs while no tool runs."""
        storm_of(self._victim, STORM, AT_ONCE)  # the first one is slower
        return {**self._loads(), "storm_s": min(self._storm()[0] for _ in range(2))}

    def alone(self, name: str) -> dict[str, Any]:
        """Start one tool twice: in a plain pipe, and then to measure it."""
        with Tool(COMMANDS[name], buffered=True) as tool:
            found: dict[str, Any] = {"first_ready_s": tool.wait_ready(), "piped_lines": self._piped(tool)}
        with Tool(COMMANDS[name]) as tool:
            found["ready_s"] = tool.wait_ready()
            time.sleep(2)
            found |= {"ready_cpu_s": tool.cpu_s(), "memory_kb": tool.memory_kb(), **self._loads()}
            pids, lines, _, found["paced_latency_ms"] = self._watched(tool, lambda: paced(self._victim, PACED, PAUSE_S))
            found["paced_lines"] = len({line.pid for line in lines} & set(pids))
            found |= self._measured_storm(tool)
            found["memory_after_kb"] = tool.memory_kb()
            return found

    def _piped(self, tool: Tool) -> int:
        """Return how many of a few kills a tool has reported after some seconds."""
        pids = paced(self._victim, PIPED_KILLS, PAUSE_S)
        time.sleep(PIPED_S)
        return len({line.pid for line in tool.kills()} & set(pids))

    def _measured_storm(self, tool: Tool) -> dict[str, Any]:
        # first without BPF statistics, which cost time themselves
        seconds: list[float] = []

        def make() -> list[int]:
            took, pids = self._storm()
            seconds.append(took)
            return pids

        pids, lines, cpu, latency = self._watched(tool, make)
        with bpf_statistics():
            before = tool.programs()
            self._watched(tool, make)
            after = tool.programs()
        return {
            "storm_s": seconds[0],
            "storm_lines": len({line.pid for line in lines} & set(pids)),
            "storm_latency_ms": latency,
            "storm_cpu_ms": cpu / STORM * 1000,
            "kernel_us": kernel_ns(before, after) / STORM / 1000,
            "verified": sum(program.get("verified_insns", 0) for program in after.values()),
        }

    def _watched(
        self, tool: Tool, make: Callable[[], list[int]]
    ) -> tuple[list[int], list[OutputLine], float, dict[str, float]]:
        """Make kills; return their pids, the tool's lines, its CPU time (s), and the times from mark to line (ms)."""
        self._take_marks()
        since, cpu = tool.count(), tool.cpu_s()
        pids = make()
        lines = tool.wait_kills(pids, since, TIMEOUT_S)
        return pids, lines, tool.cpu_s() - cpu, latencies(self._take_marks(), lines)

    def _storm(self) -> tuple[float, list[int]]:
        began = time.monotonic()
        pids = storm_of(self._victim, STORM, AT_ONCE)
        return time.monotonic() - began, pids

    def _loads(self) -> dict[str, float]:
        return {f"{kind}_ns": self._load_ns(kind, count) for kind, count in (("signal", SIGNALS), ("exec", EXECS))}

    def _load_ns(self, kind: str, count: int) -> float:
        command = [str(self._load), kind, str(count)]
        return min(float(subprocess.check_output(command)) for _ in range(ROUNDS))

    def together(self) -> dict[str, Any]:
        """Let all tools run idle, and then see the same kills."""
        with ExitStack() as stack:
            tools = {}
            for name, command in COMMANDS.items():
                more = ("--all",) if command.ready_option else ()
                tools[name] = stack.enter_context(Tool(command, more))
                tools[name].wait_ready()
            time.sleep(3)
            before = {name: tool.switches() for name, tool in tools.items()}
            time.sleep(IDLE_S)
            idle = {name: tool.switches() - before[name] for name, tool in tools.items()}
            return {"idle_switches": idle, "scenes": {name: self._scene(name, tools) for name in SCENES}}

    def growth(self) -> list[tuple[int, float]]:
        """Return the time in BPF programs for a kill among so many candidates (us), at level `full`."""
        found = []
        with Tool(COMMANDS["oomtrace"], ("--require", "full")) as tool:
            tool.wait_ready()
            with bpf_statistics():
                before = tool.programs()
                for size in crowds(self._victim, CROWDS):
                    after = tool.programs()
                    found.append((size, kernel_ns(before, after) / 1000))
                    before = after
        return found

    def _scene(self, name: str, tools: Mapping[str, Tool]) -> dict[str, Any]:
        time.sleep(BEFORE_SCENE_S)
        since = {tool: running.count() for tool, running in tools.items()}
        self._take_marks()
        true = SCENES[name].make(self._victim)
        time.sleep(PIPED_S)
        found: dict[str, Any] = {"true": len(true), "marks": len(self._take_marks())}
        for tool, running in tools.items():
            found[tool] = named(running.kills(since[tool]), true)
        return found


def named(lines: Sequence[OutputLine], true: Sequence[int]) -> dict[str, int]:
    """Return how many of the killed processes a tool reports, and how many that were not killed.

    A line of oomtrace about a process that was already dying reports no kill.
    """
    pids = {line.pid for line in lines if line.event is None or line.event["event"] == "oom_kill"}
    return {"true": len(pids & set(true)), "false": len(pids - set(true))}


def latencies(marked: Mapping[int, int], lines: Sequence[OutputLine]) -> dict[str, float]:
    """Return the median and the 99th percentile of the time from a process's mark to its line (ms)."""
    found = [(line.at - marked[line.pid]) / 1e6 for line in lines if line.pid is not None and line.pid in marked]
    if not found:
        return {}
    found.sort()
    return {"p50": statistics.median(found), "p99": found[min(len(found) - 1, len(found) * 99 // 100)]}


def kernel_ns(before: Mapping[int, Mapping[str, int]], after: Mapping[int, Mapping[str, int]]) -> int:
    """Return the time that BPF programs ran between two readings of their counters (ns)."""
    zero = {"run_time_ns": 0}
    return sum(program["run_time_ns"] - before.get(key, zero)["run_time_ns"] for key, program in after.items())


if __name__ == "__main__":
    main()
