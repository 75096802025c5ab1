# SPDX-License-Identifier: Apache-2.0
"""`oomtrace config`: the options in effect as a configuration file, each with where it is set."""

from __future__ import annotations

import os
from argparse import Action, Namespace
from collections.abc import Iterator
from dataclasses import fields

from ooMtrace.commands import Say
from ooMtrace.commands.config_file import Configuration, is_list, trace_options
from ooMtrace.commands.options import STATE_DIRECTORY
from ooMtrace.output.stream import StreamSink
from ooMtrace.settings import Settings

SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def run(arguments: Namespace, _say: Say) -> int:
    """Write the options to stdout."""
    configuration: Configuration = arguments.configuration
    StreamSink().write("".join(f"{line}\n" for line in to_toml(configuration)).encode())
    return 0


def to_toml(configuration: Configuration) -> Iterator[str]:
    """Yield the lines of a file that has the same effect, with the origin of each value as a comment."""
    state = "" if os.path.lexists(configuration.file) else ", which does not exist"
    yield f"# oomtrace's options in effect; configuration file: {_quoted(str(configuration.file))}{state}"
    values = configuration.values()
    first_of: dict[str, str] = {}
    for key, action in trace_options().items():
        if first_of.setdefault(action.dest, key) == key:
            yield _line(key, action, values.get(action.dest), configuration)


def _line(key: str, action: Action, value: object, configuration: Configuration) -> str:
    """Return the line of an option; if several keys set it, of the first."""
    raw, origin = _default(action, value), f"${STATE_DIRECTORY}" if action.dest == "state" else "default"
    if action.dest in configuration.given:
        raw, origin = configuration.given[action.dest], "command line"
    elif (entry := configuration.entries.get(action.dest)) is not None:
        # of another key of the option, such as no-cmdline, the value stands for something else here
        raw = entry.raw if entry.key == key else value
        origin = _quoted(str(configuration.file))[1:-1]
    if action.nargs == 0:
        raw = value == action.const
    elif isinstance(value, int | float):
        raw = value
    if raw is None:
        return f"# {key}: not set"
    text = _toml(raw)
    if text is None:
        return f"# {key}: not UTF-8, so only the command line can set it  # {origin}"
    return f"{key} = {text}  # {origin}"


def _default(action: Action, value: object) -> object:
    """Return the value of an option that nothing has set."""
    if value is None and action.dest in {field.name for field in fields(Settings)}:
        value = getattr(Settings(), action.dest)
    return [] if not value and is_list(action) else value


def _toml(value: object) -> str | None:
    """Return a value in TOML; None if it contains what is not text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        items = [_toml(item) for item in value]
        return None if None in items else f"[{', '.join(item for item in items if item)}]"
    text = str(value)
    return None if any("\ud800" <= character <= "\udfff" for character in text) else _quoted(text)


def _quoted(text: str) -> str:
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in SHORT_ESCAPES:
        return SHORT_ESCAPES[character]
    return character if character.isprintable() else f"\\U{ord(character):08x}"
