# SPDX-License-Identifier: Apache-2.0
"""Host tests make real kills on the running kernel. Where that was promised, not being able to is a failure."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import pytest
from support.tracer import COMMAND, RunningTracer
from support.victims import Victim, compile_victim
from support.witness import KernelLog, oom_kill_count

from ooMtrace.kernel.scratch_cgroup import ScratchCgroup, scratch_cgroup


def obstacle() -> str:
    """Return why no kill can be traced here; "" if one can.

    In a process of its own: BCC's compiler would stay mapped in this one, and count as the tracers' memory.
    """
    if os.geteuid() != 0:
        return "making cgroups needs root"
    done = subprocess.run([COMMAND, "--require", "reduced", "doctor"], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.fixture(scope="session", autouse=True)
def _able() -> None:
    required = os.environ.get("OOMTRACE_REQUIRE_KERNEL")
    reason = obstacle() if required != "known" else ""  # the same host was checked before
    if reason and required:
        pytest.fail(f"this environment promises a kernel that can be traced: {reason}")
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def program() -> Iterator[Path]:
    # not in pytest's folder: victims of other users run it, too, and a later pytest run removes their access
    with TemporaryDirectory(prefix="oomtrace-victim-") as folder:
        Path(folder).chmod(0o755)
        yield compile_victim(Path(folder))


@pytest.fixture
def tracer(tmp_path: Path) -> Iterator[RunningTracer]:
    with RunningTracer(tmp_path) as running:
        yield running


REPORTS, INTERVAL_S = 10, 5.1
"""The kernel prints the reports of ten OOMs in five seconds (oom_rs); of the others only the victims' own lines."""
ATTEMPTS = 3


@dataclass(frozen=True)
class Reported:
    """A kill, the kernel log since just before it, and whether the kernel has printed its report."""

    victim: Victim
    log: KernelLog
    complete: bool


ReportedKill = Callable[[Callable[[], Victim]], Reported]


@pytest.fixture
def reported_kill() -> ReportedKill:
    """Call a function that makes a kill and returns the victim, until the kernel has printed the report of the kill.

    It prints the first one, unless other processes are killed all the time: then it is not complete.
    """

    def attempt(kill: Callable[[], Victim]) -> Reported:
        for _ in range(ATTEMPTS):
            before = oom_kill_count()
            time.sleep(INTERVAL_S)
            log, victim = KernelLog(), kill()
            victim.end()
            if victim.pid in log.summaries():
                return Reported(victim, log, complete=True)
            assert oom_kill_count() - before > REPORTS, "no report, although the kernel has printed no others"
        return Reported(victim, log, complete=False)

    return attempt


class MakeCgroup(Protocol):
    def __call__(self, megabytes: int = 0, name: str = "") -> ScratchCgroup: ...


@pytest.fixture
def cgroup() -> Iterator[MakeCgroup]:
    """Make scratch cgroups; name may be a path below one made before."""
    with ExitStack() as stack:
        made = 0

        def make(megabytes: int = 0, name: str = "") -> ScratchCgroup:
            nonlocal made
            made += 1
            new = stack.enter_context(scratch_cgroup(name or f"oomtrace-test-{os.getpid()}-{made}"))
            if megabytes:
                new.limit(megabytes << 20)
            return new

        yield make


class MakeVictim(Protocol):
    def __call__(
        self,
        mode: str,
        cgroup: ScratchCgroup,
        megabytes: int = ...,
        *,
        uid: int = ...,
        adj: int = ...,
        comm: bytes = ...,
    ) -> Victim: ...


@pytest.fixture
def victim(program: Path) -> Iterator[MakeVictim]:
    """Start victims, and kill those that still run at the end."""
    started: list[Victim] = []

    def start(mode: str, cgroup: ScratchCgroup, megabytes: int = 256, **more: object) -> Victim:
        started.append(Victim(program, mode, cgroup, megabytes, **more))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()
