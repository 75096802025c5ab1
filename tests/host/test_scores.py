# SPDX-License-Identifier: Apache-2.0
"""Scores agree with the kernel's own, and with what it does: the first in the ranking is the one that dies.

OOMTRACE_ROUNDS=40 makes more rounds.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.tracer import COMMAND
from support.victims import Victim, compile_victim
from support.witness import KILLED, KernelLog

from ooMtrace.kernel.cgroup_mounts import read_cgroup_mounts
from ooMtrace.kernel.scratch_cgroup import ScratchCgroup, scratch_cgroup
from ooMtrace.kernel.snapshot import take_snapshot
from ooMtrace.scores.badness import oom_score
from ooMtrace.scores.domains import Domain, cgroup_domains
from ooMtrace.scores.processes import Candidate, read_processes

ROUNDS = int(os.environ.get("OOMTRACE_ROUNDS", "5"))
MIB = 1 << 20
LIMIT = 96 * MIB
ATTEMPTS = 50
BLOCK = 256 << 10
SETTLED_S = 60


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scores")
    folder.chmod(0o755)
    return compile_victim(folder)


def has_no_points_for_now(one: Candidate) -> bool:
    """Whether it may be a process that has been killed, or that is between vfork and exec: /proc does not say so."""
    up_s = float(Path("/proc/uptime").read_text().split()[0])
    return one.oom_score == 0 and up_s - one.started / os.sysconf("SC_CLK_TCK") < SETTLED_S


def processes() -> list[Candidate]:
    hierarchy = read_cgroup_mounts().memory_hierarchy()
    return read_processes(take_snapshot().page_size, hierarchy.version if hierarchy else None)


def test_the_points_of_every_process_give_the_kernels_oom_score_to_the_unit():
    """Memory changes between two reads: what differs is read again, and must agree then."""
    host = take_snapshot()
    assert host.ram is not None
    left: set[int] | None = None
    for _ in range(ATTEMPTS):
        found = {one.pid: one for one in processes() if left is None or one.pid in left}
        total = host.ram + (host.swap or 0)
        left = {
            pid
            for pid, one in found.items()
            if one.oom_score not in (None, oom_score(one.usage, total)) and not has_no_points_for_now(one)
        }
        if not left:
            break
        time.sleep(0.05)

    assert len(processes()) > 3
    assert not left


def test_processes_without_points_are_those_that_the_kernel_gives_the_score_zero():
    zero = {one.pid for one in processes() if one.oom_score == 0 and not has_no_points_for_now(one)}

    assert {one.pid for one in processes() if not one.usage.can_be_chosen} >= zero - set_of_exited(zero)


def set_of_exited(pids: set[int]) -> set[int]:
    return {pid for pid in pids if not Path(f"/proc/{pid}").exists()}


@pytest.fixture
def scene() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def holders(scene: ExitStack, program: Path, parent: ScratchCgroup, chance: random.Random) -> list[Victim]:
    """Start processes of random sizes and adjustments, some in cgroups below; together they leave some room.

    No adjustment is negative: lowering it takes CAP_SYS_RESOURCE, which root may lack.
    """
    below = [scene.enter_context(scratch_cgroup(f"{parent.path[1:]}/{name}")) for name in ("a", "b")]
    found = []
    for _ in range(chance.randint(2, 5)):
        size, adj = chance.randint(4, 16), chance.choice((0, 0, chance.randint(1, 300), 1000))
        victim = Victim(program, "hold", chance.choice([parent, *below]), size, adj=adj)
        scene.callback(victim.kill)
        victim.go().said()
        found.append(victim)
    return found


def domain_of(cgroup: ScratchCgroup) -> Domain:
    hierarchy = read_cgroup_mounts().memory_hierarchy()
    assert hierarchy
    host = take_snapshot()
    found = cgroup_domains(hierarchy, host, read_processes(host.page_size, hierarchy.version))
    return next(one for one in found if one.path == cgroup.path)


class Filler:
    """Fills a cgroup block by block with a file in a tmpfs: nobody's resident memory grows."""

    def __init__(self, cgroup: ScratchCgroup, scene: ExitStack) -> None:
        self._path = Path(f"/dev/shm/oomtrace-scores-{os.getpid()}")
        scene.callback(lambda: self._path.unlink(missing_ok=True))
        with self._path.open("wb") as file:
            self.process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)
        scene.callback(self.process.wait)
        scene.callback(self.process.kill)
        cgroup.join(self.process.pid)

    def fill_until(self, done: Callable[[], object]) -> None:
        assert self.process.stdin
        deadline = time.monotonic() + 60
        for written in range(BLOCK, LIMIT + 16 * MIB, BLOCK):
            os.write(self.process.stdin.fileno(), bytes(BLOCK))
            while not done() and self._path.stat().st_size < written:
                assert time.monotonic() < deadline, "nothing was killed"
                time.sleep(0.001)
            if done():
                return


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_the_first_in_the_ranking_is_the_one_that_the_kernel_kills(scene, program, seed):
    parent = scene.enter_context(scratch_cgroup(f"oomtrace-scores-{os.getpid()}-{seed}"))
    parent.limit(LIMIT)
    victims = holders(scene, program, parent, random.Random(seed))
    filler = Filler(parent, scene)
    running = {one.pid: one.process for one in victims} | {filler.process.pid: filler.process}
    before, log = domain_of(parent), KernelLog()
    filler.fill_until(lambda: [pid for pid, process in running.items() if process.poll() is not None])
    reports = (KILLED.search(report[-1]) for report in log.reports() if report)
    killed = [int(found["pid"]) for found in reports if found and int(found["pid"]) in running]

    # What another program ends meanwhile is in no report.
    assert killed[:1] == [before.processes[0].pid], [(one.pid, before.points(one)) for one in before.processes]


def test_the_command_ranks_a_cgroup_and_says_what_spares_its_first(scene, program):
    parent = scene.enter_context(scratch_cgroup(f"oomtrace-scores-{os.getpid()}"))
    parent.limit(LIMIT)
    sizes = {8: 400, 12: 0, 4: 0}
    started = [Victim(program, "hold", parent, size, adj=adj) for size, adj in sizes.items()]
    for one in started:
        scene.callback(one.kill)
        one.go().said()
    done = subprocess.run([COMMAND, "scores", "--json", "--cgroup", parent.path], capture_output=True, check=True)
    (domain,) = json.loads(done.stdout)["domains"]
    shown = subprocess.run(
        [COMMAND, "scores", "--pid", str(started[0].pid)], capture_output=True, text=True, check=True
    )
    below = int(shown.stdout.split(f"in {parent.path}, ")[1].split("at oom_score_adj ")[1].split()[0])

    assert [one["pid"] for one in domain["processes"]] == [one.pid for one in started]
    assert 0 < below < 400
    # either process may get or give back a few pages meanwhile
    for adj, first in ((below + 2, started[0]), (below - 1, started[1])):
        Path(f"/proc/{started[0].pid}/oom_score_adj").write_text(str(adj))
        assert domain_of(parent).processes[0].pid == first.pid, adj
