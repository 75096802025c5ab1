# SPDX-License-Identifier: Apache-2.0
"""One tracer of each level for a whole boot: an emulated CPU needs many seconds to start one.

Where a scenario is shown the tracer is its own, and ends with it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

import support.tracer
from support.tracer import Line, RunningTracer

FOLDER = Path(os.environ["TRACERS"])
PATIENCE_S = 20
PATIENCE = {"log": "4"}
"""--patience: an emulated CPU may need a second for what takes others a millisecond; the log is not that slow."""
support.tracer.PATIENCE_S = 90  # emulated


class StandingTracer(RunningTracer):
    """Started by the first scenario, used by all later ones, each of which sees its own lines only."""

    def __init__(self, level: str) -> None:
        self.level = level
        folder = FOLDER / level
        folder.mkdir(parents=True, exist_ok=True)
        patience = PATIENCE.get(level, "20")
        super().__init__(folder, "--level", level, "--require", level, "--all", "--verbose", "--patience", patience)
        self._before = 0

    def __enter__(self) -> StandingTracer:
        if not self._ready.exists():
            began = time.monotonic()
            super().__enter__()
            print(f"tracer {self.level}: ready after {time.monotonic() - began:.1f} s", flush=True)
            # as its unit does: it must live to tell of an OOM of the whole machine
            Path(f"/proc/{self.process.pid}/oom_score_adj").write_text("-1000")
        self._before = 0
        self._before = len(self.lines())
        return self

    def __exit__(self, *_: object) -> None:
        if "OOMTRACE_SHOW" in os.environ:
            super().__exit__()

    def runs(self) -> bool:
        return self._ready.exists() and Path(f"/proc/{self.pid()}").exists()

    def pid(self) -> int:
        return int(self._ready.read_text())

    def lines(self) -> list[Line]:
        """Return the lines since this scenario began."""
        return super().lines()[self._before :]

    def kills(self) -> list[Line]:
        return [line for line in self.lines() if line["event"] == "oom_kill"]

    def lost(self) -> int:
        """Return how many kills it says that it has not seen."""
        return sum(line["lost"]["count"] for line in self.lines() if line["event"] == "oom_lost")

    def wait(self, enough: Callable[[list[Line]], bool]) -> list[Line]:
        """Wait for lines, but not for ever, and return the kills: what is missing, the checks will say."""
        deadline = time.monotonic() + PATIENCE_S
        while not enough(self.kills()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.kills()

    def kills_of(self, pids: Collection[int]) -> list[Line]:
        """Wait until each process has its line; a line of any other is returned with them."""
        self.wait(lambda kills: set(pids) <= {line["process"].get("pid") for line in kills})
        time.sleep(0.2)  # for what should not come
        return self.kills()
