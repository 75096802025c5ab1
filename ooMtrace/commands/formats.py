# SPDX-License-Identifier: Apache-2.0
"""How a record is written: in a format for programs, or as an explanation for people."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from functools import partial

from ooMtrace.errors import UsageError
from ooMtrace.output.lines import Format, native, native_pretty

STDOUT, NO_TERMINAL = 1, -1


def outputs_format(arguments: Namespace, *, default: str = "native") -> Format:
    """Return the format of a command that may have several outputs: only stdout can be a terminal."""
    is_stdout_alone = all(url.scheme == "stdout" for url in arguments.output or ())
    return formatter(arguments, STDOUT if is_stdout_alone else NO_TERMINAL, default=default)


def formatter(arguments: Namespace, fd: int, *, default: str = "native") -> Format:
    """Return what turns a record into bytes.

    Args:
        arguments: `format`, if it was given, decides. Without it, `pretty` explains on a terminal.
        fd: Where the bytes go.
        default: What is written to a terminal without either option.

    Raises:
        UsageError: What is not JSON cannot be indented.
    """
    name: str | None = getattr(arguments, "format", None)
    if name == "text" and arguments.pretty:
        raise UsageError("--pretty indents JSON, and --format text is one line", "use one of them")
    if name is None and (arguments.pretty or default == "explain") and os.isatty(fd):
        name = "explain"
    # what only one format needs is imported for that one alone
    if name == "explain":
        from ooMtrace.explain.story import explain_record

        return partial(explain_record, color=takes_color(fd))
    if name in (None, "native"):
        return native_pretty if arguments.pretty else native
    from ooMtrace.output.formats import format_named

    return format_named(name, pretty=arguments.pretty)


def takes_color(fd: int, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether to write colours there: to a terminal, unless NO_COLOR is set (no-color.org)."""
    return os.isatty(fd) and not environment.get("NO_COLOR") and environment.get("TERM", "") not in ("", "dumb")
