# SPDX-License-Identifier: Apache-2.0
"""`oomtrace doctor`: what this host can do, and what is in the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ooMtrace.commands import Options
from ooMtrace.encode import dump, plain
from ooMtrace.errors import CannotTraceError
from ooMtrace.kernel.features import Features, observe
from ooMtrace.kernel.plan import LEVELS, Plan, obstacles, plan
from ooMtrace.probe.loader import bcc_error, bcc_version


def run(options: Options) -> tuple[bytes, int]:
    """Return the report and the exit code: 77 if nothing can be traced at the required level."""
    features = replace(observe(), bcc_error=bcc_error())
    bcc, chosen, problem = "" if features.bcc_error else bcc_version(), None, None
    try:
        chosen = plan(features, options.level, options.require)
    except CannotTraceError as error:
        problem = error
    if options.json:
        report = {"bcc": bcc, "plan": plain(chosen), "obstacles": plain(obstacles(features)), "features": features}
        return dump(plain(report)), problem.exit_code if problem else 0
    lines = list(_lines(features, bcc, chosen))
    if problem:
        lines.append(str(problem))
    return "".join(f"{line}\n" for line in lines).encode(), problem.exit_code if problem else 0


def _lines(features: Features, bcc: str, chosen: Plan | None) -> Iterator[str]:
    blocked = {obstacle.level: obstacle for obstacle in obstacles(features)}
    yield f"kernel   {features.release} {features.machine}"
    yield f"bcc      {bcc or 'not installed'}"
    for level in reversed(LEVELS):
        if level in blocked:
            yield f"{level:<8} no: {blocked[level].fact}; {blocked[level].hint}"
        else:
            yield f"{level:<8} yes"
    if chosen:
        yield f"plan     {chosen.level}: {', '.join(chosen.hooks)}"
