# SPDX-License-Identifier: Apache-2.0
"""One file for each subcommand. None of them prints or exits: that is cli.py's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ooMtrace.errors import CannotTraceError, ProbeError
from ooMtrace.kernel.checks import OTHER_PIDS
from ooMtrace.kernel.features import observe
from ooMtrace.kernel.plan import LEVELS, Wishes, plan
from ooMtrace.reconcile.checkpoint import State
from ooMtrace.runtime.pipeline import Settings, Tracer

Say = Callable[[str], None]
"""Takes one line for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line, understood."""

    command: str = "trace"
    output: Path | None = None
    state: Path | None = None
    ready_file: Path | None = None
    level: str = "full"
    require: str = ""
    all: bool = False
    pretty: bool = False
    verbose: bool = False
    json: bool = False
    lifecycle: bool = False
    env: tuple[str, ...] = ()
    cmdline: bool = True
    network: bool = True
    service: tuple[tuple[int, str], ...] = ()
    patience: float = 1.0
    files: tuple[str, ...] = ()


@contextmanager
def attached(options: Options, say: Say, since: State | None = None) -> Iterator[Tracer]:
    """Trace at the highest level that works, and say which one that is.

    Raises:
        CannotTraceError: No level can be reached, or none as high as required.
    """
    tracer = _attach(options, say, since)
    try:
        yield tracer
    finally:
        tracer.close()


def _attach(options: Options, say: Say, since: State | None) -> Tracer:
    """The kernel has the last word: what looked possible may be refused, and then the next level is tried."""
    features = observe()
    wishes = Wishes(environment=bool(options.env), lifecycle=options.lifecycle)
    settings = Settings(
        dying=options.all,
        lifecycle=options.lifecycle,
        environment=options.env,
        command=options.cmdline,
        network=options.network,
        services=dict(options.service),
        patience=options.patience,
        since=since,
        host_pids=features.host_pids,
    )
    if not features.host_pids:
        say(f"the pid namespace is {'; '.join(OTHER_PIDS)}")
    highest = options.level
    while True:
        chosen = plan(features, highest, options.require, wishes)
        try:
            tracer = Tracer(chosen, features, say, settings)
        except CannotTraceError as error:  # without BCC
            features = replace(features, bcc_error=error.fact)
        except ProbeError as error:
            if options.verbose and error.detail:
                for one in error.detail.splitlines():
                    say(one)
            if chosen.level in (LEVELS[0], options.require):
                raise CannotTraceError(error.fact, error.hint) from error
            say(str(error))
            highest = LEVELS[LEVELS.index(chosen.level) - 1]
        else:
            say(_started(chosen.level, [obstacle.fact for obstacle in chosen.obstacles]))
            return tracer


def _started(level: str, obstacles: list[str]) -> str:
    reasons = "; ".join(dict.fromkeys(obstacles))
    return f"tracing at level {level}{f' ({reasons})' if reasons else ''}; Ctrl-C ends"
