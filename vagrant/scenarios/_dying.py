# SPDX-License-Identifier: Apache-2.0
"""Checks for processes that the OOM killer has marked, but not killed: they were already dying."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from _checks import Equal, check_form
from _tolerances import at
from support.tracer import Line

if TYPE_CHECKING:
    from _tracers import StandingTracer


def wait_for_dying(tracer: StandingTracer, count: int) -> list[Line]:
    """Wait for so many lines about dying processes, up to a timeout; return all lines."""
    tracer.wait(lambda _: len(_dying(tracer.lines())) >= count)
    return tracer.lines()


def _dying(lines: Collection[Line]) -> list[Line]:
    return [line for line in lines if line["event"] == "oom_dying"]


def check_dying(lines: Collection[Line], marked: Sequence[int], pid: int, equal: Equal) -> list[Line]:
    """Compare the lines of a scenario with the kernel's own marks of one process; return the lines about it.

    Args:
        lines: All lines of one tracer, which runs with `--all`, at level `full` or `reduced`.
        marked: The threads that the kernel has marked, in this order.
        pid: The process whose threads these are.
    """
    equal("kills", [at(line, "process.pid") for line in lines if line["event"] == "oom_kill"], [])
    dying = _dying(lines)
    equal("dying", [at(line, "process.tid") for line in dying], list(marked))
    for line in dying:
        check_form(line, equal)
        equal("pid", at(line, "process.pid"), pid)
        equal("severity", line["severity"], "INFO")
        equal("no verdict", at(line, "oom.verdict"), None)
        equal("no number", at(line, "oom.number"), None)
        # no signal of the OOM killer reaches it, at which these would be read
        equal("no context", "process.open_files" in line["missing"], True)
    return dying
