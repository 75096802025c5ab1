# SPDX-License-Identifier: Apache-2.0
"""One tracer of each level for a whole boot: an emulated CPU needs many seconds to start one.

In a demonstration a scenario has a tracer of its own, which ends with it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

import support.tracer
from _tolerances import SLOWDOWN
from support.tracer import Line, RunningTracer, repairs

FOLDER = Path(os.environ["TRACERS"])
TIMEOUT_S = 20 * SLOWDOWN
TIMEOUT_FACTOR = {"log": 4}
"""An emulated CPU may need a second for what takes others a millisecond; the kernel log is not that slow."""
support.tracer.TIMEOUT_S = 90 * SLOWDOWN  # emulated


class StandingTracer(RunningTracer):
    """A tracer that the first scenario starts and all later ones use; each sees its own lines only."""

    def __init__(self, level: str) -> None:
        self.level = level
        folder = FOLDER / level
        folder.mkdir(parents=True, exist_ok=True)
        factor = TIMEOUT_FACTOR.get(level, 20) * min(SLOWDOWN, 5)  # oomtrace takes 100 at most
        options = ("--require", level, "--all", "--verbose", "--timeout-factor", str(factor))
        super().__init__(folder, "--level", level, *options)
        self._before = 0

    def __enter__(self) -> StandingTracer:
        if not self._ready.exists():
            began = time.monotonic()
            super().__enter__()
            print(f"tracer {self.level}: ready after {time.monotonic() - began:.1f} s", flush=True)
            # as its systemd unit does: it must survive an OOM of the whole machine to report it
            Path(f"/proc/{self.process.pid}/oom_score_adj").write_text("-1000")
        self._before = 0
        self._before = len(self.lines())
        return self

    def __exit__(self, *_: object) -> None:
        if "OOMTRACE_SHOW" in os.environ:
            self.repairs = True  # the scenario has checked that
            super().__exit__(None)

    def runs(self) -> bool:
        return self._ready.exists() and Path(f"/proc/{self.pid()}").exists()

    def pid(self) -> int:
        return int(self._ready.read_text())

    def lines(self) -> list[Line]:
        """Return the lines since this scenario began."""
        return super().lines()[self._before :]

    def repaired(self) -> list[str]:
        """Return what shows that the tracer has missed a kill since this scenario began."""
        return repairs(self.lines(), self.level)

    def kills(self) -> list[Line]:
        return [line for line in self.lines() if line["event"] == "oom_kill"]

    def no_kills(self, number: int) -> list[str]:
        """Wait for so many OOMs without a kill; return the ids of those that were reported."""

        def found() -> list[str]:
            return [line["id"] for line in self.lines() if line["event"] == "oom_no_kill"]

        self.wait(lambda _: len(found()) >= number)
        return found()

    def lost(self) -> int:
        """Return how many kills the tracer reports as lost."""
        return sum(line["lost"]["count"] for line in self.lines() if line["event"] == "oom_lost")

    def backfilled(self) -> int:
        """Return how many kills the tracer has from the kernel log, although it has probes."""
        return sum(line["fidelity"] != self.level for line in self.kills())

    def wait(self, enough: Callable[[list[Line]], bool]) -> list[Line]:
        """Wait for lines, up to a timeout, and return the kills; the checks report what is missing."""
        deadline = time.monotonic() + TIMEOUT_S
        while not enough(self.kills()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.kills()

    def kills_of(self, pids: Collection[int]) -> list[Line]:
        """Wait until each process has its line; lines of other processes are returned, too."""
        self.wait(lambda kills: set(pids) <= {line["process"].get("pid") for line in kills})
        time.sleep(0.2)  # for lines that should not come
        return self.kills()
