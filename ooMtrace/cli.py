# SPDX-License-Identifier: Apache-2.0
"""The command line: it parses, dispatches, prints and exits, and nothing else does."""

from __future__ import annotations

import os
import re
import select
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from typing import NoReturn, cast

from ooMtrace import __version__
from ooMtrace.commands import Command
from ooMtrace.commands.options import COMMANDS
from ooMtrace.commands.paths import check_paths, writes_stdout
from ooMtrace.errors import OomtraceError, UsageError
from ooMtrace.output.sink import ClosedPipeError
from ooMtrace.output.stream import StreamSink
from ooMtrace.output.terminal import escape_control

DESCRIPTION = "Trace the kernel's OOM killer: one JSON line for every process it kills."
EXAMPLES = """\
examples:
  sudo oomtrace                                  one line on stdout for each kill
  sudo oomtrace --pretty                         the same, for people
  sudo oomtrace --output /var/log/oomtrace.log   append to a file; SIGHUP reopens it
  sudo oomtrace | jq -r .message                 kills in words
  sudo oomtrace demo                             make one harmless kill and show its line
  oomtrace doctor                                what this host can do, and what is in the way
  oomtrace logs /var/log/kern.log*               kills of the past, from kernel logs
  oomtrace explain /var/log/oomtrace.log         what each line says, in sentences
  oomtrace report FILE... -o report.html         one page about all of them
  oomtrace config                                the options in effect, and where each is set
  oomtrace scores                                which processes the kernel would kill next
  oomtrace schema                                the JSON Schema of a line

exit codes:
  0 done, 1 failure, 2 wrong usage, 77 this host cannot trace at the required level
"""
DEFAULT_COMMAND = "trace"
HELP, VERSION = ("-h", "--help"), ("-V", "--version")

SIMILAR = 0.7
"""How alike a mistyped word must be to the one that is suggested, 0 to 1: one or two letters of a short word."""

STDERR_TIMEOUT_MS = 100

HOST_FAULT = "check the limits (ulimit -a), mounts and free space; --verbose shows where it failed"


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = Namespace()
    try:
        return _run(sys.argv[1:] if argv is None else argv, arguments)
    except ClosedPipeError:  # `oomtrace schema | head` has had enough
        return 0
    except OomtraceError as error:
        if getattr(arguments, "verbose", False):
            for line in error.detail.splitlines():
                _say(line)
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt:  # during start-up, before the loop handles signals
        return 0
    except (ImportError, MemoryError, OSError) as error:  # of the host, in a place that does not expect it
        for line in _traceback() if getattr(arguments, "verbose", False) else ():
            _say(line)
        _say(f"{_described(error)}; {HOST_FAULT}")
        return 1


def parse(argv: list[str], arguments: Namespace | None = None) -> tuple[str, Namespace]:
    """Return the command and its arguments; options may stand before the command, too.

    Args:
        argv: What was typed after the program's name.
        arguments: Filled in, if given.

    Raises:
        UsageError: There is no such command, or it has no such option or value.
    """
    name, rest = _split_command(argv)
    parsed, unknown = _parser(name).parse_known_args(rest, arguments or Namespace())
    if unknown:
        raise _unknown(unknown[0], name)
    return name, parsed


def _run(argv: list[str], arguments: Namespace) -> int:
    closed = _open_standard_fds()
    if (shown := _help_or_version(argv)) is not None:
        return _print(shown)
    name, _ = parse(argv, arguments)
    if COMMANDS[name].reads_config:
        from ooMtrace.commands.config_file import configure  # late: other commands have no use for it

        arguments.configuration = configure(arguments, _split_command(argv)[1])
    if 1 in closed and writes_stdout(arguments):
        raise UsageError("stdout is closed", "name a file with --output")
    check_paths(arguments)
    command = cast(Command, import_module(f"ooMtrace.commands.{name}"))
    return command.run(arguments, _say)


def _help_or_version(argv: list[str]) -> str | None:
    """Return the text that was asked for: `-h` and `-V` anywhere before `--`, or the commands help and version."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    commands = [word for word in words if word in COMMANDS]
    if words[:1] == ["version"] or set(words) & set(VERSION):
        return f"oomtrace {__version__}\n"
    if words[:1] == ["help"] or set(words) & set(HELP):
        return _parser(commands[0] if commands else None).format_help()
    return None


def _split_command(argv: list[str]) -> tuple[str, list[str]]:
    """Find the command: the first word that is neither an option nor the value of one."""
    named = next(
        (word for word in argv if word in COMMANDS), None
    )  # for messages: perhaps it is the value of an option
    options = _Parser(prog=_program(named), add_help=False, allow_abbrev=False, conflict_handler="resolve")
    for command in COMMANDS.values():
        command.add_arguments(options)
    _, words = options.parse_known_args(argv)
    if not words:
        return DEFAULT_COMMAND, argv
    if words[0] not in COMMANDS:
        raise _unknown(words[0], DEFAULT_COMMAND)
    places = (place for place, word in enumerate(argv) if word == words[0] and _is_whole(options, argv[:place]))
    place = next(places)
    return words[0], argv[:place] + argv[place + 1 :]


def _is_whole(options: _Parser, argv: list[str]) -> bool:
    """Say whether the last option, too, has its value: what follows is none then."""
    try:
        options.parse_known_args(argv)
    except UsageError:
        return False
    return True


def _unknown(word: str, command: str) -> UsageError:
    """Say which word is wrong, and which was perhaps meant."""
    called = _program(command)
    if word.startswith("-"):
        kind, known = "option", [*HELP, *VERSION, *_options(command)]
    elif command == DEFAULT_COMMAND:
        kind, known = "command", list(COMMANDS)
    else:
        kind, known = "argument", []
    near = get_close_matches(word.partition("=")[0], known, 1, SIMILAR)
    hint = f"did you mean {near[0]}?" if near else f"see `{called} --help`"
    return UsageError(f"{called} has no {kind} {word}", hint)


class _Parser(ArgumentParser):
    """Reports errors as we report all others: in one line, without a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of printing and exiting."""
        raise UsageError(message, f"see `{self.prog} --help`")


def _parser(name: str | None) -> _Parser:
    """Return the parser of a command; None: the one whose help describes the whole program."""
    command = COMMANDS[name or DEFAULT_COMMAND]
    parser = _Parser(
        prog=_program(name),
        usage=None if name else "oomtrace [COMMAND] [OPTION ...]",
        description=command.summary if name else DESCRIPTION,
        epilog=None if name else f"{_list_of_commands()}\n{EXAMPLES}",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if name is None:
        parser.add_argument(*VERSION, action="store_true", help="show the version and exit")
    command.add_arguments(parser)
    if command.add_operands is not None:
        command.add_operands(parser)
    return parser


def _program(command: str | None) -> str:
    """Return what is typed for a command: nothing for the default."""
    return "oomtrace" if command in (None, DEFAULT_COMMAND) else f"oomtrace {command}"


def _options(command: str) -> list[str]:
    return re.findall(r"--[\w-]+", _parser(command).format_usage())


def _list_of_commands() -> str:
    rows = {**{name: command.summary for name, command in COMMANDS.items()}, "help": "show the help of a command"}
    return "commands:\n" + "".join(f"  {name:<10} {summary}\n" for name, summary in rows.items())


def _open_standard_fds() -> list[int]:
    """Open what our caller closed of stdin, stdout and stderr, and return which: else the next file would be it."""
    closed = []
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            closed.append(_open_null())
    return closed


def _open_null() -> int:
    try:
        return os.open(os.devnull, os.O_RDWR)
    except OSError:  # no /dev
        return os.memfd_create("oomtrace", 0)


def _described(error: ImportError | MemoryError | OSError) -> str:
    """Return what failed, without the number of the error."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or "out of memory"


def _traceback() -> list[str]:
    import traceback  # only now: it is seldom needed

    return traceback.format_exc().splitlines()


def _say(line: str) -> None:
    with suppress(OSError):  # closed, or nothing may be polled
        stderr = select.poll()
        stderr.register(2, select.POLLOUT)
        # A reader of our messages that is stuck must stop neither tracing nor the end.
        if stderr.poll(STDERR_TIMEOUT_MS):
            print(f"oomtrace: {escape_control(line)}", file=sys.stderr, flush=True)


def _print(text: str) -> int:
    # Not by sys.stdout: what that could not write it tries again, and complains, when the interpreter ends.
    StreamSink().write(text.encode())
    return 0
