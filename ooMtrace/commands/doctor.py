# SPDX-License-Identifier: Apache-2.0
"""`oomtrace doctor`: what this host can do, what is in the way, and what to do about it."""

from __future__ import annotations

import platform
from argparse import Namespace
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from textwrap import wrap

from ooMtrace import __version__
from ooMtrace.commands import Say, options
from ooMtrace.errors import CannotTraceError, ProbeError
from ooMtrace.kernel.checks import Check, checks, levels
from ooMtrace.kernel.features import Features, observe
from ooMtrace.kernel.obstacles import obstacles
from ooMtrace.kernel.plan import Plan, plan
from ooMtrace.output.encode import dump, plain
from ooMtrace.output.stream import StreamSink
from ooMtrace.probe.bcc import bcc_error, bcc_version
from ooMtrace.probe.loader import Probe
from ooMtrace.settings import LEVELS, Level, Settings

WIDTH = 110
INDENT = 19


def run(arguments: Namespace, _say: Say) -> int:
    """Write the report to stdout; return 77 if nothing can be traced at the required level."""
    features = replace(observe(), bcc_error=bcc_error())
    bcc = "" if features.bcc_error else bcc_version()
    if not arguments.quick:
        features = replace(features, refused=dict(_refused(features)))
    chosen, problem = None, None
    try:
        chosen = plan(features, options.settings(arguments))
    except CannotTraceError as error:
        problem = error
    report = _json(features, bcc, chosen) if arguments.json else text(features, bcc, chosen or str(problem))
    StreamSink().write(report)
    return problem.exit_code if problem else 0


def _refused(features: Features) -> Iterator[tuple[Level, tuple[str, str]]]:
    """Load the programs of each level that looks possible; yield each level that is refused, and why."""
    blocked = {obstacle.level for obstacle in obstacles(features)}
    for level in LEVELS[1:]:  # the first needs no programs
        if level not in blocked:
            try:
                Probe(plan(features, Settings(level=level)), features.release, attach=False).close()
            except ProbeError as error:
                yield level, (error.fact.removeprefix(f"level {level}: "), error.hint)


def _json(features: Features, bcc: str, chosen: Plan | None) -> bytes:
    return dump(
        {
            "kernel": features.release,
            "checks": [asdict(one) for one in checks(features, bcc)],
            "levels": [
                {"level": one.name, "ok": one.ok, "fact": one.fact, "hint": one.hint} for one in levels(features)
            ],
            "plan": {**plain(chosen), "hooks": list(map(str, chosen.hooks))} if chosen else None,
            "features": plain(features),
        }
    )


def text(features: Features, bcc: str, result: Plan | str) -> bytes:
    """Return the report for people; `result` is the plan, or why there is none."""
    end = f"plan: {result.level}, by {', '.join(map(str, result.hooks))}" if isinstance(result, Plan) else result
    lines = (
        f"oomtrace {__version__}, Python {platform.python_version()}, Linux {features.release} {features.machine}",
        "",
        *_lines(checks(features, bcc)),
        "",
        *_lines(levels(features)),
        "",
        *wrap(end, WIDTH, subsequent_indent="  "),
    )
    return "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")


def _lines(rows: Iterable[Check]) -> Iterator[str]:
    for row in rows:
        begin = f"{row.name.replace('_', ' '):<14} {'ok' if row.ok else 'NO':<4}"
        yield from _wrapped(begin, row.fact)
        if row.hint:
            yield from _wrapped(" " * (INDENT - 3) + "-> ", row.hint)


def _wrapped(begin: str, words: str) -> list[str]:
    return wrap(words, WIDTH, initial_indent=begin, subsequent_indent=" " * INDENT, break_on_hyphens=False)
