# SPDX-License-Identifier: Apache-2.0
"""Formats of a line: each is a pure projection of the line as it is, and adds no fact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ooMtrace.output.encode import dump_line, encode, load
from ooMtrace.output.formats.ecs import to_ecs
from ooMtrace.output.formats.flat import flatten
from ooMtrace.output.formats.otlp import to_logs_data
from ooMtrace.output.formats.text import to_text
from ooMtrace.output.lines import Format, native, native_pretty

Facts = dict[str, Any]
"""A line as a dictionary."""

FORMATS = ("native", "ecs", "otlp", "flat", "text")
OBJECTS: dict[str, Callable[[Facts], Facts]] = {"ecs": to_ecs, "otlp": to_logs_data, "flat": flatten}


def format_named(name: str, *, pretty: bool = False) -> Format:
    """Return the format of this name; `pretty`: indented, if it is JSON."""
    if name == "text":
        return lambda record: to_text(load(encode(record)))
    if name in OBJECTS:
        project = OBJECTS[name]
        return lambda record: dump_line(project(load(encode(record))), pretty=pretty)
    return native_pretty if pretty else native
