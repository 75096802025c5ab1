# SPDX-License-Identifier: Apache-2.0
"""Reads the configuration file again while tracing, and says which of its changes take effect."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ooMtrace.commands import Say
from ooMtrace.commands.config_file import Configuration, trace_options
from ooMtrace.errors import UsageError


class Reloader:
    """Applies what can be changed while tracing.

    Args:
        configuration: What is in effect; None: there is no file to read again.
        say: Takes one line for the operator.
        changeable: What applies a new value, by the destination of the option; all others are fixed until a restart.
    """

    def __init__(
        self, configuration: Configuration | None, say: Say, changeable: Mapping[str, Callable[[Any], None]]
    ) -> None:
        self._configuration = configuration
        self._say = say
        self._changeable = changeable
        self._in_effect = configuration.values() if configuration else {}

    def reload(self) -> None:
        """Read the file; where it is wrong, everything stays as it is."""
        if self._configuration is None:
            return
        try:
            values = self._configuration.reread().values()
        except UsageError as error:
            self._say(f"{error}; the options that were read before stay in effect")
            return
        changed = {dest: value for dest, value in values.items() if value != self._in_effect.get(dest)}
        applied = [dest for dest in changed if dest in self._changeable]
        for dest in applied:
            self._changeable[dest](changed[dest])
            self._in_effect[dest] = changed[dest]
        file = self._configuration.file
        if applied:
            self._say(f"{file} was read again; changed: {_keys(applied)}")
        if fixed := [dest for dest in changed if dest not in self._changeable]:
            self._say(f"{file} was read again; restart oomtrace for the changes of: {_keys(fixed)}")


def _keys(dests: Iterable[str]) -> str:
    first_of: dict[str, str] = {}
    for key, action in trace_options().items():
        first_of.setdefault(action.dest, key)
    return ", ".join(first_of.get(dest, dest) for dest in dests)
