# SPDX-License-Identifier: Apache-2.0
"""Evaluate the files of a finished boot: a pass, or a list of what failed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .boot import Result

STALLED = re.compile(r"nvme nvme\d+: I/O .* timeout, |I/O error, dev nvme")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one boot of the matrix."""

    passed: tuple[str, ...]
    problems: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Nothing went wrong, and something was tested."""
        return not self.problems and bool(self.passed)


def evaluate(result: Result, expected: tuple[str, ...], out: Path) -> Verdict:
    """Compare the guest's results with the scenarios that it was given.

    A boot that did not finish has failed whatever it wrote, and so has a scenario without a line.
    """
    if not result.finished:
        return Verdict((), (result.reason,), result.seconds)
    statuses = _statuses(out / "guest" / "results.tsv")
    passed = tuple(name for name in expected if statuses.get(name) == "0")
    problems = tuple(_problem(name, statuses) for name in expected if name not in passed)
    if not expected:
        problems = ("no scenario for this machine",)
    return Verdict(passed, problems, result.seconds)


def _statuses(table: Path) -> dict[str, str]:
    if not table.exists():
        return {}
    rows = (line.split("\t") for line in table.read_text().splitlines())
    return {row[0]: row[1] for row in rows}


def _problem(name: str, statuses: dict[str, str]) -> str:
    status = statuses.get(name)
    if status is None:
        return f"{name}: did not run"
    return f"{name}: time limit" if status == "124" else f"{name}: exit {status}"


def disk_stalled(out: Path) -> bool:
    """Return whether the guest's disk failed to answer a request.

    QEMU's NVMe sometimes never answers a request (once in about 60 boots here, on 6.18); the kernel gives up on it
    after 30 s, and what ran meanwhile is late. The console of a guest that did not end shows only the errors.
    """
    logs = (out / "guest" / "dmesg.txt", out / "console.log")
    return any(STALLED.search(log.read_text(errors="replace")) for log in logs if log.exists())
