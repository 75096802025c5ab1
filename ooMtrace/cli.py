# SPDX-License-Identifier: Apache-2.0
"""The command line: it parses, dispatches, prints and exits, and nothing else does."""

from __future__ import annotations

import argparse
import os
import select
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from ooMtrace import __version__
from ooMtrace.commands import Options
from ooMtrace.errors import OomtraceError, UsageError
from ooMtrace.output.encode import dump
from ooMtrace.output.sink import ClosedPipeError
from ooMtrace.output.stream import StreamSink
from ooMtrace.output.terminal import escape_control
from ooMtrace.record.json_schema import json_schema
from ooMtrace.settings import LEVELS

DESCRIPTION = "Trace the kernel's OOM killer: one JSON line for every process it takes."
EXAMPLES = """\
examples:
  sudo oomtrace                                  trace, one line on stdout for each kill
  sudo oomtrace --pretty                         the same, for people
  sudo oomtrace --output /var/log/oomtrace.log   append to a file; SIGHUP reopens it
  sudo oomtrace | jq -r .message                 kills in words
  sudo oomtrace demo                             make one harmless kill and show its line
  oomtrace doctor                                what this host can do, and what is in the way
  oomtrace logs /var/log/kern.log*               the kills of the past, from kernel logs
  oomtrace schema                                the JSON Schema of a line

exit codes:
  0 done, 1 failure, 2 wrong usage, 77 this host cannot trace at the required level
"""

HIGHEST_PORT = 65535
MOST_PATIENCE = 100
SAY_MS = 100


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = parse(argv)
    try:
        return _dispatch(options)
    except ClosedPipeError:  # `oomtrace schema | head` has had enough
        return 0
    except OomtraceError as error:
        if options.verbose and error.detail:
            for one in error.detail.splitlines():
                _say(one)
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt:  # before the signals are ours, that is during start
        return 0


def parse(argv: list[str] | None = None) -> Options:
    """Understand the command line; argparse itself exits with 2 when it cannot."""
    parser = _Parser(
        prog="oomtrace", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"oomtrace {__version__}")
    parser.add_argument("--output", type=Path, metavar="FILE", help="append the lines to FILE instead of stdout")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        default=_state_directory(),
        help="keep there what is told; the next run tells what died since (default: $STATE_DIRECTORY, if set)",
    )
    parser.add_argument("--pretty", action="store_true", help="spread a line over several lines, for people")
    parser.add_argument("--all", action="store_true", help="also report processes that were already dying")
    parser.add_argument("--lifecycle", action="store_true", help="also report when a victim is gone")
    parser.add_argument(
        "--env", action="append", metavar="KEY", help="tell this variable of a victim's environment; `CI_*` for several"
    )
    parser.add_argument("--no-cmdline", dest="cmdline", action="store_false", help="tell neither titles nor arguments")
    parser.add_argument(
        "--no-network", dest="network", action="store_false", help="do not look up addresses of network namespaces"
    )
    parser.add_argument(
        "--service", action="append", type=_service, metavar="PORT=NAME", help="what is at a port: --service 7000=redis"
    )
    parser.add_argument(
        "--timeout-factor",
        type=_factor,
        metavar="N",
        help="multiply correlation timeouts by N (default: 1)",
    )
    parser.add_argument("--level", choices=LEVELS, default="full", help="go no higher than this level")
    parser.add_argument("--require", choices=LEVELS, metavar="LEVEL", help="exit with 77 below this level")
    parser.add_argument("--ready-file", type=Path, metavar="FILE", help="keep FILE while the probes are attached")
    parser.add_argument("--verbose", action="store_true", help="with errors, show the compiler's and verifier's log")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", help="without one, trace")
    doctor = commands.add_parser("doctor", help="what this host can do, and what is in the way")
    doctor.add_argument("--json", action="store_true", help="all that was found, as JSON")
    logs = commands.add_parser("logs", help="the kills that kernel logs tell of")
    logs.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="kern.log, dmesg or journal (text or JSON), .gz or .xz; `-`: stdin; none: the kernel's own log",
    )
    commands.add_parser("demo", help="make one harmless kill and show its line")
    commands.add_parser("schema", help="print the JSON Schema of a line")
    parsed = {name: value for name, value in vars(parser.parse_args(argv)).items() if value is not None}
    for several in {"env", "service", "files"} & parsed.keys():
        parsed[several] = tuple(parsed[several])
    return Options(**parsed)


def _state_directory() -> Path | None:
    """Return the folder that systemd has made for us (StateDirectory= in a unit), of several the first."""
    folder = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(folder) if folder else None


class _Parser(argparse.ArgumentParser):
    """Quotes what was typed so that no terminal obeys it: `*` may have found a file with a name like an option."""

    def error(self, message: str) -> NoReturn:
        """Say it, and exit with 2."""
        super().error(escape_control(message))


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor <= MOST_PATIENCE:
        raise argparse.ArgumentTypeError(f"{text!r} is no number between 0 and {MOST_PATIENCE}")
    return factor


def _service(text: str) -> tuple[int, str]:
    port, equals, name = text.partition("=")
    if not (equals and name and name.isprintable() and port.isdecimal() and int(port) <= HIGHEST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is not PORT=NAME, such as 7000=redis")
    return int(port), name


def _dispatch(options: Options) -> int:
    if 1 in _open_standard_fds() and options.output is None:
        raise UsageError("stdout is closed", "name a file with --output")
    if options.command == "schema":
        return _print(dump(json_schema()), 0)
    if options.command == "doctor":
        from ooMtrace.commands import doctor

        return _print(*doctor.run(options))
    if options.command == "logs":
        from ooMtrace.commands import logs

        return logs.run(options, _say)
    if options.command == "demo":
        from ooMtrace.commands import demo

        return demo.run(options, _say)
    from ooMtrace.commands import trace

    return trace.run(options, _say)


def _open_standard_fds() -> list[int]:
    """Open what our caller closed of stdin, stdout and stderr, and return which: else the next file would be it."""
    closed = []
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            closed.append(os.open(os.devnull, os.O_RDWR))
    return closed


def _say(line: str) -> None:
    stderr = select.poll()
    stderr.register(2, select.POLLOUT)
    # Whoever does not read our messages keeps us neither from tracing nor from the end.
    if stderr.poll(SAY_MS):
        with suppress(OSError):
            print(f"oomtrace: {escape_control(line)}", file=sys.stderr, flush=True)


def _print(text: bytes, exit_code: int) -> int:
    # Not by sys.stdout: what that could not write it tries again, and complains, when the interpreter ends.
    StreamSink().write(text)
    return exit_code
