# SPDX-License-Identifier: Apache-2.0
"""Host tests make real kills on the running kernel. Where that was promised, not being able to is a failure."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import pytest
from support.tracer import COMMAND, RunningTracer
from support.victims import Victim, compile_victim
from support.witness import KernelLog

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
    reason = obstacle()
    if reason and os.environ.get("OOMTRACE_REQUIRE_KERNEL"):
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


@pytest.fixture
def full_log() -> KernelLog:
    """The kernel log, with the tables: the kernel prints those of ten OOMs in five seconds and no more (oom_rs)."""
    time.sleep(5.1)
    return KernelLog()


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
