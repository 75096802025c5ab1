# SPDX-License-Identifier: Apache-2.0
"""The commands and options of oomtrace, as the man page and the completions need them."""

from __future__ import annotations

from argparse import Action, ArgumentParser
from dataclasses import dataclass

from ooMtrace.commands.options import COMMANDS

SUMMARIES = {
    **{name: command.summary for name, command in COMMANDS.items()},
    "help": "show the help of a command",
    "version": "show the version",
}
"""What each command does, in one line."""


@dataclass(frozen=True, slots=True)
class Argument:
    """An option, or an operand, which has no names.

    Attributes:
        names: Such as `--output`; the last one is the long one.
        value: What the help calls its value, such as FILE; empty: it takes none.
        choices: The values that are accepted; empty: others, too.
        help: As in `--help`.
    """

    names: tuple[str, ...]
    value: str
    choices: tuple[str, ...]
    help: str


def options_of(command: str) -> list[Argument]:
    """Return the options of a command, in the order of its help."""
    return [argument for argument in _arguments(command) if argument.names]


def operands_of(command: str) -> list[Argument]:
    """Return the other arguments of a command."""
    return [argument for argument in _arguments(command) if not argument.names]


def all_options() -> dict[Argument, list[str]]:
    """Return each option once, with the commands that have it."""
    users: dict[str, tuple[Argument, list[str]]] = {}
    for command in COMMANDS:
        for option in options_of(command):
            users.setdefault(option.names[-1], (option, []))[1].append(command)
    return dict(users.values())


def _arguments(command: str) -> list[Argument]:
    if command not in COMMANDS:
        return []
    parser = ArgumentParser(add_help=False)
    COMMANDS[command].add_arguments(parser)
    if (add_operands := COMMANDS[command].add_operands) is not None:
        add_operands(parser)
    return [_argument(action) for action in parser._actions]  # argparse has no other list of them


def _argument(action: Action) -> Argument:
    value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    text = (action.help or "") % {**vars(action), "prog": "oomtrace"}
    return Argument(tuple(action.option_strings), value, tuple(map(str, action.choices or ())), text)
