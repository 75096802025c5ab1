# SPDX-License-Identifier: Apache-2.0
"""What a scenario works with: tracers, witnesses, cgroups, victims, and a list of failed checks.

A scenario runs in two ways. As a test, with a tracer of each level, whose lines are compared with each other. As a
demonstration (`oomtrace-scenario NAME`), with one tracer, whose lines are shown.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from _checks import check_form, check_full, check_level_minimal, check_level_reduced, check_probed
from _kmsg import CLOCKS_APART_S, check_log, logs
from _log import Report, reports
from _proc import CREATION, Facts, check_proc, look
from _tolerances import at
from _tracers import StandingTracer
from support.tracer import Line
from support.victims import Victim
from support.witness import KernelLog, LoggedKill, oom_kill_count

from ooMtrace.kernel.scratch_cgroup import ScratchCgroup, scratch_cgroup
from ooMtrace.settings import LEVELS

SHOW = "OOMTRACE_SHOW" in os.environ
VICTIM = Path(os.environ["VICTIM"])
SHOWN = 3
"""How many lines are shown in full; of the others only the message is."""
GROW = "import mmap; mmap.mmap(-1, {megabytes} << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x8000)"
"""0x8000 is MAP_POPULATE: all memory at once. Growing slowly, the guest would thrash before it runs out of memory."""


class Scenario:
    """Helpers and checks of one scenario. A failed check is noted, and the scenario goes on.

    Attributes:
        repairs: Whether a tracer may miss kills, and backfill them or report them as lost.
        clock_steps: Whether the clock is set while the scenario runs.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._made = 0
        self._title = ""
        self._known: dict[int, Facts] = {}
        self._folders: dict[str, str] = {}
        self.repairs = False
        self.clock_steps = False
        self.problems: list[str] = []
        self.clocks_apart_s = CLOCKS_APART_S
        levels = ("full",) if SHOW else LEVELS[::-1]
        self.tracers = {level: stack.enter_context(StandingTracer(level)) for level in levels}
        self.full = self.tracers["full"]
        time.sleep(self._until_reports_are_complete())
        self.log = KernelLog()
        self._count = oom_kill_count()

    @staticmethod
    def _until_reports_are_complete() -> float:
        """Return seconds: the kernel prints ten full reports in five seconds (oom_rs); no scenario makes more."""
        return 0.5

    def equal(self, what: str, got: Any, expected: Any) -> None:
        """Compare, and note a difference."""
        if got != expected:
            problem = f"{self._title}{what}: got {got!r}, expected {expected!r}"
            self.problems.append(problem)
            print(f"FAILED {problem}", flush=True)

    def true(self, what: str, fact: object) -> None:
        self.equal(what, bool(fact), True)

    def cgroup(self, megabytes: int = 0, name: str = "") -> ScratchCgroup:
        """Make a memory cgroup; its name may be a path below one made before."""
        self._made += 1
        made = self._stack.enter_context(scratch_cgroup(name or f"{Path(sys.argv[0]).stem}-{self._made}"))
        if megabytes:
            made.limit(megabytes << 20)
        self._folders[made.path] = str(made.folder.stat().st_ino)
        return made

    def victim(self, mode: str, cgroup: ScratchCgroup, megabytes: int = 256, **more: Any) -> Victim:
        """Start one of victim.c's processes."""
        victim = Victim(VICTIM, mode, cgroup, megabytes, **more)
        self._stack.callback(_end, victim.process)
        self._known[victim.pid] = look(victim.pid)
        if mode in ("leaderless", "crew"):  # has other threads by then
            del self._known[victim.pid]["process.threads"]
        return victim

    def python(
        self, code: str, cgroup: ScratchCgroup | None = None, wrapper: Collection[str] = ()
    ) -> subprocess.Popen[bytes]:
        """Start Python code in a cgroup, and let it run at once.

        Wait for its end without a timeout: that would poll, and a process that runs when memory is out may stall.
        """
        command = [*wrapper, sys.executable, "-c", f"input(); {code}"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._stack.callback(_end, process)
        Path(f"/proc/{process.pid}/oom_score_adj").write_text("0")
        if cgroup:
            cgroup.join(process.pid)
        if not wrapper:  # which may not have executed the program yet
            known = look(process.pid)
            self._known[process.pid] = {name: known[name] for name in known if "open_files" not in name}
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.flush()
        return process

    def reports(self) -> list[Report]:
        return reports(self.log.lines())

    def kills(self, pids: Collection[int], *, silent: Collection[int] = ()) -> list[Line]:
        """Return the lines of level `full`, in the order of `pids`, after the checks that every scenario has.

        Args:
            pids: All processes that were killed, and no others.
            silent: Those of them that the kernel neither logs nor counts.
        """
        lines = self.full.kills_of(pids)
        for level, tracer in self.tracers.items():
            self.true(f"the tracer of level {level} still runs", tracer.runs())
            self._check_repairs(tracer)
        by_pid = {line["process"]["pid"]: line for line in lines}
        self.equal("one line each", sorted(line["process"]["pid"] for line in lines), sorted(pids))
        counted = [line for line in lines if line["process"]["pid"] not in silent]
        self._check_counts(counted)
        self._check_lines(counted, lines)
        if SHOW:
            self.show(lines)
        else:
            self._check_levels(lines, counted)
        return [by_pid[pid] for pid in pids if pid in by_pid]

    def comment(self, text: str) -> None:
        """Print more facts in a demonstration."""
        if SHOW:
            print(f"\n{text}", flush=True)

    def show(self, lines: list[Line]) -> None:
        """Print lines in a demonstration."""
        if not SHOW:
            return
        for line in lines[:SHOWN]:
            print(json.dumps(line, indent=2, ensure_ascii=False))
        print(f"\n{len(lines)} {'line' if len(lines) == 1 else 'lines'}:")
        for line in lines:
            print(f"  {line['message']}", flush=True)

    def check_repairs(self) -> None:
        """Check that each tracer has seen every kill itself, as far as its lines have come."""
        for tracer in self.tracers.values():
            self._check_repairs(tracer)

    def _check_repairs(self, tracer: StandingTracer) -> None:
        if not self.repairs:
            self.equal(f"level {tracer.level}: missed", tracer.repaired(), [])

    def check_log(self) -> None:
        """Compare what the log says of the scenario's kills with the lines."""
        reported = {report.kills[0].pid for report in self.reports() if report.chosen and report.kills}
        logged = {tid: tid in reported for tid in self.log.kills()}
        if not logged:
            return
        self._compare("oomtrace logs", logs(), logged, self.clocks_apart_s)
        if live := self.tracers.get("log"):
            lines = live.wait(lambda kills: logged.keys() <= {line["process"]["tid"] for line in kills})
            # those of an earlier scenario may have come only now
            lines = [line for line in lines if (at(line, "oom.number") or sys.maxsize) > self._count]
            self._compare("level log", lines, logged, CLOCKS_APART_S)

    def _compare(self, what: str, from_log: list[Line], logged: dict[int, bool], apart: float) -> None:
        self._title = f"{what}, "
        missed = self.full.lost() + self.full.backfilled() if self.repairs else 0
        traced = [line for line in self.full.kills() if line["fidelity"] == self.full.level]
        summary = check_log(from_log, traced, logged, missed, apart, self.equal)
        print(f"{what}: {summary}", flush=True)
        self._title = ""

    def _check_counts(self, counted: list[Line]) -> None:
        """Check counts and ordinals; a group's first victim is logged and counted twice: as chosen, and as a member."""
        logged = [kill.pid for report in self.reports() for kill in report.kills]
        self.equal("log lines, by the kernel's count", len(logged), oom_kill_count() - self._count)
        self.equal("threads killed", sorted(line["process"]["tid"] for line in counted), sorted(set(logged)))
        numbers: dict[int, int] = {}
        for number, tid in enumerate(logged, self._count + 1):
            numbers.setdefault(tid, number)
        self.equal("numbers", {line["process"]["tid"]: at(line, "oom.number") for line in counted}, numbers)

    def _logged(self) -> dict[int, tuple[Report, LoggedKill]]:
        found: dict[int, tuple[Report, LoggedKill]] = {}
        for report in self.reports():
            for kill in report.kills:
                # the first of two: a dying process frees memory between them
                found.setdefault(kill.pid, (report, kill))
        return found

    def _check_known(self, line: Line) -> None:
        """Compare with what /proc has shown of a victim, and with the directories of the scenario's cgroups."""
        if (known := self._known.get(line["process"]["pid"])) is not None:
            check_proc(line, {name: fact for name, fact in known.items() if self._holds(name)}, self.equal)
        for candidate in at(line, "oom.candidates") or ():
            if known := self._known.get(candidate["pid"]):
                self.equal("candidate's cgroup", candidate["cgroup"], known["cgroup.path"])
        for name in ("cgroup", "oom.memcg"):
            if (path := at(line, f"{name}.path")) in self._folders:
                self.equal(f"{name}.id", at(line, f"{name}.id"), self._folders[path])

    def _holds(self, name: str) -> bool:
        return name != CREATION or not self.clock_steps

    def _check_lines(self, counted: list[Line], lines: list[Line]) -> None:
        found = self._logged()
        for line in counted:
            self._title = f"pid {line['process']['pid']} ({line['oom']['verdict']}), "
            check_form(line, self.equal)
            self._check_known(line)
            if line["process"]["tid"] in found:
                check_full(line, *found[line["process"]["tid"]], self.equal, lines)
        self._title = ""

    def _check_levels(self, lines: list[Line], counted: list[Line]) -> None:
        logged = self._logged()
        by_pid = {
            line["process"]["pid"]: line
            for line in self.tracers["reduced"].kills_of([x["process"]["pid"] for x in lines])
        }
        self.equal("level reduced: processes", sorted(by_pid), sorted(line["process"]["pid"] for line in lines))
        for line in lines:
            pid = line["process"]["pid"]
            if pid in by_pid:
                self._title = f"level reduced, pid {pid} ({at(line, 'oom.verdict')}), "
                check_form(by_pid[pid], self.equal)
                self._check_known(by_pid[pid])
                check_level_reduced(by_pid[pid], line, self.equal, lines)
                if (tid := line["process"]["tid"]) in logged:
                    check_probed(by_pid[pid], *logged[tid], self.equal, list(by_pid.values()))
        self._title = ""
        found = self.tracers["minimal"].wait(lambda kills: len(kills) >= len(counted))
        by_tid = {line["process"]["tid"]: line for line in found}
        # level minimal cannot see which processes share memory
        self.equal(
            "level minimal: threads",
            sorted(x["process"]["tid"] for x in found),
            sorted(x["process"]["tid"] for x in counted),
        )
        for line in counted:
            tid = line["process"]["tid"]
            if tid in by_tid and tid in logged:
                self._title = f"level minimal, tid {tid} ({at(line, 'oom.verdict')}), "
                check_form(by_tid[tid], self.equal)
                check_level_minimal(by_tid[tid], line, logged[tid][1], self.equal)
        self._title = ""


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


@contextmanager
def scenario() -> Iterator[Scenario]:
    """Prepare a scenario; at the end the script fails if a check has failed."""
    if SHOW:
        print(f"{Path(sys.argv[0]).stem}: {sys.modules['__main__'].__doc__}\n", flush=True)
    # the OOM killer must choose neither the scenario itself nor the tracers that it starts
    Path("/proc/self/oom_score_adj").write_text("-1000")
    with setting("/proc/sys/vm/overcommit_memory", "1"), ExitStack() as stack:
        made = Scenario(stack)
        yield made
        made.check_log()
        made.check_repairs()
    if made.problems:
        sys.exit(f"{len(made.problems)} checks failed")
    if SHOW:
        print("\nAll checks passed: the lines agree with the kernel's log and counters.")


@contextmanager
def setting(path: str, value: str) -> Iterator[None]:
    """Change one of the kernel's settings until the end of the block."""
    file = Path(path)
    before = file.read_text()
    file.write_text(value)
    try:
        yield
    finally:
        file.write_text(before)
