# SPDX-License-Identifier: Apache-2.0
"""The configuration file: the options of `oomtrace trace`, by the names that they have on the command line."""

from __future__ import annotations

import os
import re
from argparse import SUPPRESS, Action, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ooMtrace.commands.options import COMMANDS, settings
from ooMtrace.commands.paths import check_paths
from ooMtrace.commands.toml_file import read_toml
from ooMtrace.errors import UsageError

DEFAULT_FILE = Path("/etc/oomtrace.toml")
NOT_A_KEY = ("config",)
MAX_INTEGER = 1 << 64
"""Python refuses to show integers that are much larger."""
SIMILAR = 0.7
_SEE = "see `oomtrace --help`"
SHOWN = 60

Raw = bool | int | float | str | list[str]
"""What TOML has for a value."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of the file.

    Attributes:
        key: Its name: that of the option, without `--`.
        raw: Its value in the file.
        value: The same, as the option would have it.
    """

    key: str
    raw: Raw
    value: object


@dataclass(frozen=True, slots=True)
class Configuration:
    """All options in effect, each under the name of its argparse destination.

    Attributes:
        file: The configuration file.
        is_required: Whether it must exist.
        base: Values of all options without the file.
        given: The options of the command line, as text.
        entries: The options of the file.
    """

    file: Path
    is_required: bool
    base: Mapping[str, Any]
    given: Mapping[str, Raw]
    entries: Mapping[str, Entry]

    def values(self) -> dict[str, Any]:
        """Return the value of every option: the command line's, else the file's, else the default."""
        from_file = {dest: entry.value for dest, entry in self.entries.items() if dest not in self.given}
        return {**self.base, **from_file}

    def reread(self) -> Configuration:
        """Return what it is with the file as it is now.

        Raises:
            UsageError: The file or a value in it is wrong.
        """
        reread = replace(self, entries=read_entries(self.file, is_required=self.is_required))
        reread.check()
        return reread

    def check(self) -> None:
        """Raise UsageError if options contradict each other; the message names the file if it has one of them."""
        arguments = Namespace(**self.values())
        try:
            settings(arguments)
            check_paths(arguments)
        except UsageError as error:
            named = [e.key for dest, e in self.entries.items() if dest not in self.given and _names(error, e.key)]
            if not named:
                raise
            raise UsageError(f"{self.file}: {', '.join(named)}: {error.fact}", error.hint) from error


def configure(arguments: Namespace, argv: Sequence[str]) -> Configuration:
    """Add the options of the file to those of the command line, which take precedence.

    Args:
        arguments: The parsed command line; changed.
        argv: The options on the command line.

    Raises:
        UsageError: The file or a value in it is wrong.
    """
    named: Path | None = arguments.config
    file = Path(os.path.abspath(named or DEFAULT_FILE))  # noqa: PTH100 (a link stays the name of the file)
    entries = read_entries(file, is_required=named is not None)
    configuration = Configuration(file, named is not None, dict(vars(arguments)), _given(argv), entries)
    configuration.check()
    vars(arguments).update(configuration.values())
    return configuration


def trace_options() -> dict[str, Action]:
    """Return the options of `oomtrace trace`, by their keys."""
    parser = _parser()
    names = [(name, action) for action in parser._actions for name in action.option_strings]
    keys = {name[2:]: action for name, action in names if name.startswith("--")}
    return {key: action for key, action in keys.items() if key not in NOT_A_KEY}


def read_entries(file: Path, *, is_required: bool) -> dict[str, Entry]:
    """Return the options in a file by their destinations; one that does not exist has none unless it is required.

    Raises:
        UsageError: It cannot be read, has no TOML, an unknown key or a wrong value, or others may write to it.
    """
    known, entries = trace_options(), dict[str, Entry]()
    for key, value in read_toml(file, is_required=is_required).items():
        if key not in known:
            near = get_close_matches(key[:SHOWN], known, 1, SIMILAR)
            raise UsageError(f"{file}: no option is called {key[:SHOWN]}", f"did you mean {near[0]}?" if near else _SEE)
        try:
            entry = _entry(key, known[key], value)
        except _WrongValueError as error:
            raise UsageError(f"{file}: {key} {error.fact}", error.hint) from error
        dest = known[key].dest
        if entry is not None and dest in entries:
            raise UsageError(f"{file}: {entries[dest].key} and {key} are the same option", "leave out one of the two")
        if entry is not None:
            entries[dest] = entry
    return entries


class _WrongValueError(UsageError):
    """The fact continues a sentence that begins with the file and the key."""


def _entry(key: str, action: Action, value: object) -> Entry | None:
    """Return the entry of a key; None if it leaves the option as it is."""
    if action.nargs == 0:
        return _switch(key, action, value)
    if is_list(action):
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            hint = f'write {key} = ["...", "..."]'
            raise _WrongValueError(f"must be a string or a list of strings, and is {_shown(value)}", hint)
        return Entry(key, texts, [_converted(action, text) for text in texts])
    if not isinstance(value, str | int | float) or isinstance(value, bool) or _is_large(value):
        raise _WrongValueError(f"must be a string or a number, and is {_shown(value)}", _SEE)
    converted = _converted(action, _text(value))
    if isinstance(converted, int | float) == isinstance(value, str):
        kind = "a string" if isinstance(converted, str | Path) or isinstance(value, int | float) else "a number"
        hint = f"write {key} = {value}" if kind == "a number" else f'write {key} = "{_text(value)}"'
        raise _WrongValueError(f"must be {kind}, and is {_shown(value)}", hint)
    return Entry(key, value, converted)


def _switch(key: str, action: Action, value: object) -> Entry | None:
    """Return the entry of an option without a value; `false` is as if it had not been given."""
    if not isinstance(value, bool):
        raise _WrongValueError(f"must be true or false, and is {_shown(value)}", f"write {key} = true, without quotes")
    if value:
        return Entry(key, value, action.const)
    return Entry(key, value, not action.const) if isinstance(action.const, bool) else None


def _converted(action: Action, text: str) -> object:
    if "\0" in text:
        raise _WrongValueError("contains a NUL character", "remove it")
    try:
        value: object = action.type(text) if callable(action.type) else text
    except ArgumentTypeError as error:
        raise _WrongValueError(f"is wrong: {error}", _SEE) from error
    except UsageError as error:
        raise _WrongValueError(f"is wrong: {error.fact}", error.hint) from error
    except (TypeError, ValueError) as error:
        raise _WrongValueError(f"has a wrong value, {_shown(text)}", _SEE) from error
    if action.choices is not None and value not in action.choices:
        choices = [str(choice) for choice in action.choices]
        near = get_close_matches(text[:SHOWN], choices, 1, SIMILAR)
        hint = f"did you mean {near[0]}?" if near else "choose one of them"
        raise _WrongValueError(f"is {_shown(text)}, which is none of {', '.join(choices)}", hint)
    return value


def is_list(action: Action) -> bool:
    """Say whether an option may be repeated, and so have a list of values."""
    return type(action).__name__ in ("_AppendAction", "_ExtendAction") or action.nargs in ("*", "+")


def _is_large(value: float | str) -> bool:
    return isinstance(value, int) and abs(value) >= MAX_INTEGER


def _text(value: float | str) -> str:
    """Return a value as it would stand on the command line, where numbers have no exponent."""
    text = str(value)
    return format(value, ".20f") if isinstance(value, float) and "e" in text else text


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value if len(value) <= SHOWN else f"{value[:SHOWN]}...")
    if isinstance(value, int | float):
        return "a very large number" if _is_large(value) else f"the number {value}"
    if isinstance(value, list):
        return "a list that has something else" if value else "an empty list"
    return "a table" if isinstance(value, dict) else "a date or time"


def _names(error: UsageError, key: str) -> bool:
    return re.search(rf"--{re.escape(key)}(?![\w-])", error.fact) is not None


def _given(argv: Sequence[str]) -> dict[str, Raw]:
    """Return what the command line has, by destination and as text; it has been checked before."""
    parser = _parser()
    for action in parser._actions:
        action.default, action.type = SUPPRESS, None
    parser._defaults.clear()
    return vars(parser.parse_known_args(list(argv))[0])


def _parser() -> ArgumentParser:
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    COMMANDS["trace"].add_arguments(parser)
    return parser
