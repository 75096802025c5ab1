# SPDX-License-Identifier: Apache-2.0
"""Many kills, as fast as they come."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ooMtrace.kernel.scratch_cgroup import ScratchCgroup

LIMIT_MEGABYTES = 2
"""The smaller, the faster."""


class Storm:
    """Kills in the background, all in one cgroup. Use it as a context manager: at its end nothing is left of it.

    Args:
        kills: How many; after some ten thousand it blocks until `take` has read pids.
        at_once: How many victims there are at any time.
        more: Another argument of the victims; a long one makes long lines.
    """

    def __init__(self, program: Path, cgroup: ScratchCgroup, kills: int, at_once: int = 1, more: str = "") -> None:
        self._left = kills
        procs = cgroup.folder / "cgroup.procs"
        self._command: list[str | Path] = [program, "storm", str(kills), procs, str(at_once), more]
        cgroup.limit(LIMIT_MEGABYTES << 20)

    def __enter__(self) -> Storm:
        self._parent = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        # who makes the storm may be exempt itself
        Path(f"/proc/{self._parent.pid}/oom_score_adj").write_text("0")
        assert self._parent.stdin
        self._parent.stdin.write("!")
        self._parent.stdin.flush()
        return self

    def __exit__(self, *_: object) -> None:
        self._parent.kill()
        self._parent.communicate()

    def take(self, count: int) -> list[int]:
        """Wait until this many more are dead, and return their pids."""
        assert self._parent.stdout
        self._left -= count
        return [int(self._parent.stdout.readline()) for _ in range(count)]

    def rest(self) -> list[int]:
        """Wait until it is over, and return the pids that `take` has not returned."""
        pids = self.take(self._left)
        assert self._parent.wait(60) == 0
        return pids


def storm(program: Path, cgroup: ScratchCgroup, kills: int, at_once: int = 1, more: str = "") -> list[int]:
    """Kill this many, and return their pids."""
    with Storm(program, cgroup, kills, at_once, more) as running:
        return running.rest()
