# SPDX-License-Identifier: Apache-2.0
"""`oomtrace doctor`: what this host can do, what is in the way, and what to do about it."""

from __future__ import annotations

import platform
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict, replace
from textwrap import wrap

from ooMtrace import __version__
from ooMtrace.commands import Say, options
from ooMtrace.errors import CannotTraceError, ProbeError
from ooMtrace.kernel.checks import Check, checks, levels
from ooMtrace.kernel.features import Features, observe
from ooMtrace.kernel.obstacles import is_unprivileged, obstacles
from ooMtrace.kernel.plan import Plan, plan
from ooMtrace.kernel.verdict import shown, verdict
from ooMtrace.output.encode import dump, plain
from ooMtrace.output.stream import StreamSink
from ooMtrace.probe.bcc import bcc_problem, bcc_version
from ooMtrace.probe.image_cache import ImageCache, cache_path, open_cache
from ooMtrace.probe.loader import Probe
from ooMtrace.settings import LEVELS, Level, Settings

WIDTH = 110
INDENT = 19


def run(arguments: Namespace, _say: Say) -> int:
    """Write the report to stdout; return 77 if nothing can be traced at the required level."""
    fact, hint = bcc_problem() or ("", "")
    features = replace(observe(), bcc_error=fact, bcc_hint=hint)
    bcc = "" if features.bcc_error else bcc_version()
    chosen, problem = None, None
    cache = open_cache(lambda _: None, create=False)
    with closing(cache) if cache else nullcontext():
        if not arguments.quick:
            features = replace(features, refused=dict(_refused(features, cache)))
        try:
            chosen = plan(features, options.settings(arguments))
        except CannotTraceError as error:
            problem = error
        programs = _programs(features, chosen, cache)
    line = verdict(features, chosen.level if chosen else None, str(problem or ""))
    report = (
        _json(line, features, bcc, chosen)
        if arguments.json
        else text(line, features, bcc, chosen or str(problem), programs)
    )
    StreamSink().write(report)
    return problem.exit_code if problem else 0


def _refused(features: Features, cache: ImageCache | None) -> Iterator[tuple[Level, tuple[str, str]]]:
    """Load the programs of each level that looks possible; yield each level that is refused, and why."""
    blocked = {obstacle.level for obstacle in obstacles(features)}
    for level in LEVELS[1:]:  # the first needs no programs
        if level not in blocked:
            try:
                Probe(plan(features, Settings(level=level)), features.release, cache, attach=False).close()
            except ProbeError as error:
                yield level, (error.fact.removeprefix(f"level {level}: "), error.hint)


def _programs(features: Features, chosen: Plan | None, cache: ImageCache | None) -> str:
    """Return whether a start has to compile; "" if it needs no programs, or nothing can be traced."""
    if chosen is None or not chosen.program:
        return ""
    if cache is None:
        return f"not compiled yet for this user: {cache_path()} does not exist or is not usable"
    if cache.read(chosen, features.release):
        return f"compiled already, in {cache.path}"
    return "not compiled yet: the first start does it, or `oomtrace prepare`"


def _json(line: str, features: Features, bcc: str, chosen: Plan | None) -> bytes:
    return dump(
        {
            "verdict": line,
            "kernel": features.release,
            "checks": [asdict(one) for one in checks(features, bcc)],
            "levels": [
                {"level": one.name, "ok": one.ok, "fact": one.fact, "hint": one.hint} for one in levels(features)
            ],
            "plan": {**plain(chosen), "hooks": list(map(str, chosen.hooks))} if chosen else None,
            "features": plain(features),
        }
    )


def text(line: str, features: Features, bcc: str, result: Plan | str, programs: str = "") -> bytes:
    """Return the report for people.

    Args:
        line: The verdict.
        features: What was found.
        bcc: BCC's version; "" if it cannot be used.
        result: The plan, or why there is none.
        programs: Whether they are compiled already; "" if none are needed.
    """
    hints: set[str] = set()
    rows = list(_lines(shown(checks(features, bcc), features), hints))
    rungs = list(_lines(shown(levels(features), features), hints))
    head = f"oomtrace {__version__}, Python {platform.python_version()}, Linux {features.release} {features.machine}"
    end = [*_end(features, result), *(_wrapped("programs: ", programs, 2) if programs else ())]
    sections = ([line, head], rows, rungs, end)
    return "\n".join("".join(f"{each}\n" for each in section) for section in sections if section).encode(
        errors="backslashreplace"
    )


def _end(features: Features, result: Plan | str) -> list[str]:
    """Return the plan, or why there is none; of an ordinary user the verdict states it."""
    if isinstance(result, Plan):
        hooks = ", ".join(map(str, result.hooks))
        return wrap(f"plan: {result.level}, by {hooks}", WIDTH, subsequent_indent="  ")
    return [] if is_unprivileged(features) else wrap(result, WIDTH, subsequent_indent="  ")


def _lines(rows: Iterable[Check], hints: set[str]) -> Iterator[str]:
    """Yield the lines of rows; a hint that is in `hints`, for it was printed before, is not repeated."""
    for row in rows:
        begin = f"{row.name.replace('_', ' '):<14} {'ok' if row.ok else 'NO':<4}"
        yield from _wrapped(begin, row.fact)
        if row.hint not in ("", *hints):
            hints.add(row.hint)
            yield from _wrapped(" " * (INDENT - 3) + "-> ", row.hint)


def _wrapped(begin: str, words: str, indent: int = INDENT) -> list[str]:
    return wrap(words, WIDTH, initial_indent=begin, subsequent_indent=" " * indent, break_on_hyphens=False)
