# SPDX-License-Identifier: Apache-2.0
"""Which commands there are, and the options of each: every command has only those that it uses."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from ooMtrace.commands.line_options import (
    add_explain_operands,
    add_explain_options,
    add_report_files,
    add_report_options,
)
from ooMtrace.commands.moments import parse_moment
from ooMtrace.commands.option_values import output_url, process_name, service, timeout_factor
from ooMtrace.commands.scores_options import add_scores_options
from ooMtrace.errors import UsageError
from ooMtrace.output.url import known_schemes
from ooMtrace.settings import CMDLINE_MODES, LEVELS, MAX_MEMORY_KILLERS, NAME_SOURCES, SIGKILL_MODES, Settings

FORMATS = ("native", "ecs", "otlp", "flat", "text", "explain")
"""Those of output.formats, and explanations; neither is imported only to parse options."""
STATE_DIRECTORY = "STATE_DIRECTORY"
"""The variable from which the default of --state comes: systemd sets it for a unit with StateDirectory=."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """How a command is called.

    Attributes:
        summary: One line for the list of commands.
        add_arguments: Declares its options.
        add_operands: Declares its other arguments, if it has any.
        reads_config: Whether the configuration file has options of it.
    """

    summary: str
    add_arguments: Callable[[ArgumentParser], None]
    add_operands: Callable[[ArgumentParser], None] | None = None
    reads_config: bool = False


def settings(arguments: Namespace) -> Settings:
    """Return the settings that the options of a command stand for; what is no option of it has its default."""
    given = {field.name: getattr(arguments, field.name, None) for field in fields(Settings)}
    given |= {"env": tuple(given["env"] or ()), "services": dict(given["services"] or ())}
    given["names_from"] = tuple(dict.fromkeys(given["names_from"] or ()))
    given["memory_killers"] = _memory_killers(given["memory_killers"] or (), given["sigkill"])
    return Settings(**{name: value for name, value in given.items() if value is not None})


def _trace(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="read options from FILE (default: /etc/oomtrace.toml, if it exists); those given here take precedence",
    )
    _outputs(parser)
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        default=_systemd_state_directory(),
        help="directory for the checkpoint; on restart, report kills since then (default: $STATE_DIRECTORY)",
    )
    parser.add_argument("--all", action="store_true", help="also report processes that were already dying (oom_dying)")
    parser.add_argument("--lifecycle", action="store_true", help="also report when a victim has exited (oom_exit)")
    _sigkill(parser)
    _content(parser)
    parser.add_argument(
        "--names-from",
        action="append",
        choices=NAME_SOURCES,
        metavar="API",
        help=f"ask this API, too, for the names of containers: {', '.join(NAME_SOURCES)}; may be repeated",
    )
    _level(parser)
    parser.add_argument(
        "--ready-file", type=Path, metavar="FILE", help="create FILE once the probes are attached; remove it at exit"
    )
    _verbose(parser)


def _demo(parser: ArgumentParser) -> None:
    parser.set_defaults(sigkill="none")
    _outputs(parser)
    _content(parser)
    _level(parser)
    _verbose(parser)


def _logs(parser: ArgumentParser) -> None:
    _output_file(parser)
    times = "RFC 3339, `YYYY-MM-DD[ HH:MM[:SS]]` in local time, or ago: `90s`, `30m`, `2h`, `3d`, `1w`"
    parser.add_argument("--since", type=parse_moment, metavar="TIME", help=f"only kills since then: {times}")
    parser.add_argument("--until", type=parse_moment, metavar="TIME", help="only kills until then: as --since")
    parser.add_argument(
        "--process", metavar="NAME", help="only kills of processes of this name (globs allowed: `ruby*`) or pid"
    )
    parser.add_argument("--cgroup", metavar="PATH", help="only kills in this cgroup, by its limit, or below it")
    parser.add_argument(
        "--summary", action="store_true", help="instead of lines, print how many kills by process name, cgroup and day"
    )


def _log_files(parser: ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="kern.log, dmesg or journal (text or JSON), also .gz, .bz2, .xz or .zst; `-`: stdin;"
        " none: what is piped in, or else the kernel's own log, /dev/kmsg",
    )


def _prepare(parser: ArgumentParser) -> None:
    parser.add_argument("--lifecycle", action="store_true", help="compile for oomtrace --lifecycle")
    _sigkill(parser)
    _probe_content(parser)
    _level(parser)
    _verbose(parser)


def _doctor(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print everything that was found as JSON")
    parser.add_argument(
        "--quick", action="store_true", help="do not try to load the programs of each level, which takes a second"
    )
    _level(parser)


def _schema(_parser: ArgumentParser) -> None:
    """There is one schema."""


COMMANDS = {
    "trace": CommandLine("report kills as they happen (the default)", _trace, reads_config=True),
    "demo": CommandLine("make one harmless kill and show its line", _demo),
    "logs": CommandLine("report the kills in kernel logs", _logs, _log_files),
    "explain": CommandLine(
        "explain the kills in oomtrace's lines, for people", add_explain_options, add_explain_operands
    ),
    "report": CommandLine("make an HTML page about many of oomtrace's lines", add_report_options, add_report_files),
    "scores": CommandLine("which processes the kernel would kill next", add_scores_options),
    "prepare": CommandLine("compile the BPF programs now, for a faster start", _prepare),
    "doctor": CommandLine("what this host can do, and what is in the way", _doctor),
    "config": CommandLine("print the options in effect, and where each is set", _trace, reads_config=True),
    "schema": CommandLine("print the JSON Schema of a line", _schema),
}


def _outputs(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--output",
        action="append",
        type=output_url,
        metavar="URL",
        help="write lines there instead of to stdout: a file, or a URL (see docs/outputs.md) that begins with"
        f" {known_schemes()}; may be repeated",
    )
    _format(parser)


def _output_file(parser: ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, metavar="FILE", help="append lines to FILE instead of stdout")
    _format(parser)


def _format(parser: ArgumentParser) -> None:
    parser.add_argument("--pretty", action="store_true", help="for people: explain on a terminal, or else indent JSON")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        metavar="FORMAT",
        help="`native`: the documented JSON line (the default); `ecs`: Elastic Common Schema; `otlp`: OpenTelemetry's"
        " logs as JSON; `flat`: JSON with one level of keys; `text`: one line for people; `explain`: what happened, why"
        " and what to do, in sentences",
    )


def _memory_killers(names: Iterable[str], sigkill: str | None) -> tuple[str, ...]:
    unique = tuple(dict.fromkeys(names))
    if len(unique) > MAX_MEMORY_KILLERS:
        fact = f"--memory-killer is given for {len(unique)} names, at most {MAX_MEMORY_KILLERS} are possible"
        raise UsageError(fact, "use --sigkill all to report the SIGKILLs of all processes")
    if unique and sigkill in ("all", "none"):
        raise UsageError(f"--memory-killer has no effect with --sigkill {sigkill}", "leave out one of the two")
    return unique


def _sigkill(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--sigkill",
        choices=SIGKILL_MODES,
        metavar="MODE",
        help="also report SIGKILLs from user space (sigkill): `memory-killers`, such as systemd-oomd and earlyoom (the"
        " default); `all`; `none`",
    )
    parser.add_argument(
        "--memory-killer",
        dest="memory_killers",
        action="append",
        type=process_name,
        metavar="NAME",
        help="another process name (comm) of a memory killer; may be repeated",
    )


def _content(parser: ArgumentParser) -> None:
    _probe_content(parser)
    parser.add_argument(
        "--no-network",
        dest="network",
        action="store_false",
        help="do not look up the addresses of the victim's network namespace",
    )
    parser.add_argument(
        "--service",
        dest="services",
        action="append",
        type=service,
        metavar="PORT=NAME",
        help="name the service at a port, such as 7000=redis; may be repeated",
    )
    parser.add_argument(
        "--timeout-factor",
        type=timeout_factor,
        metavar="N",
        help="multiply correlation timeouts by N (default: 1: a line waits up to 250 ms for the victim's context)",
    )


def _probe_content(parser: ArgumentParser) -> None:
    """Declare the options that change the BPF programs."""
    parser.add_argument(
        "--env",
        action="append",
        metavar="KEY",
        help="include this environment variable of the victim (globs allowed: `CI_*`); may be repeated",
    )
    parser.add_argument(
        "--cmdline",
        choices=CMDLINE_MODES,
        metavar="MODE",
        help="process titles and arguments: `full`; `redacted`, secrets replaced (the default); `none`, not even read",
    )
    parser.add_argument(
        "--no-cmdline", dest="cmdline", action="store_const", const="none", help="the same as --cmdline none"
    )


def _level(parser: ArgumentParser) -> None:
    levels = ", ".join(reversed(LEVELS))
    parser.add_argument("--level", choices=LEVELS, metavar="LEVEL", help=f"use no higher level than this: {levels}")
    parser.add_argument("--require", choices=LEVELS, metavar="LEVEL", help="exit with 77 below this level")


def _verbose(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--verbose", action="store_true", help="with errors, show the compiler's and the verifier's log"
    )


def _systemd_state_directory() -> Path | None:
    """Return the first directory that systemd has made for the unit (StateDirectory= in systemd.exec(5))."""
    directory = os.environ.get(STATE_DIRECTORY, "").partition(":")[0]
    return Path(directory) if directory else None
