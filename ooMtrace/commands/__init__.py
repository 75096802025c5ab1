# SPDX-License-Identifier: Apache-2.0
"""One file for each subcommand. None of them prints or exits: that is cli.py's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ooMtrace.settings import Level, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line, understood."""

    command: str = "trace"
    output: Path | None = None
    state: Path | None = None
    ready_file: Path | None = None
    level: Level = "full"
    require: Level | None = None
    all: bool = False
    pretty: bool = False
    verbose: bool = False
    json: bool = False
    lifecycle: bool = False
    env: tuple[str, ...] = ()
    cmdline: bool = True
    network: bool = True
    service: tuple[tuple[int, str], ...] = ()
    timeout_factor: float = 1.0
    files: tuple[str, ...] = ()


def settings(options: Options) -> Settings:
    """Return what the command line asks of the tracer."""
    return Settings(
        level=options.level,
        require=options.require,
        all=options.all,
        lifecycle=options.lifecycle,
        env=options.env,
        cmdline=options.cmdline,
        network=options.network,
        services=dict(options.service),
        timeout_factor=options.timeout_factor,
    )
