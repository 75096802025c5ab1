# SPDX-License-Identifier: Apache-2.0
"""From a record to bytes of JSON. Pure, and the only module that imports orjson."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson

from ooMtrace.output.shorten import RESERVE, shorten, with_truncated
from ooMtrace.record import INT64, Record
from ooMtrace.record.fields import facts_of, name_of

LINE_LIMIT = 8000
"""Bytes, newline included: log shippers truncate or drop longer lines."""

UNSAFE = (*range(0x7F, 0xA0), 0x2028, 0x2029)
"""Characters that JSON need not escape, but readers act on: control characters and other ends of lines."""

ESCAPES = {code: f"\\u{code:04x}" for code in UNSAFE}


def encode(record: Record, *, pretty: bool = False) -> bytes:
    """Return a record as JSON of no more than LINE_LIMIT bytes, newline included.

    Args:
        record: What to encode; facts that do not fit are cut and named in `truncated`.
        pretty: Whether to indent it, over several lines; the limit does not count the indentation.
    """
    facts = plain(record)
    line = _dump(facts, pretty=False)
    if len(line) + RESERVE <= LINE_LIMIT:
        return _dump(facts, pretty=True) if pretty else line
    facts = with_truncated(facts, shorten(facts, LINE_LIMIT, lambda part: len(_dump(part, pretty=False))))
    order = map(name_of, fields(record))
    return _dump({name: facts[name] for name in order if name in facts}, pretty=pretty)


def encode_pretty(record: Record) -> bytes:
    """Return a record as indented JSON, newline included."""
    return encode(record, pretty=True)


def dump(value: Any) -> bytes:  # noqa: ANN401 (anything that JSON can represent)
    """Return a value as indented JSON, newline included."""
    return _dump(value, pretty=True)


def dump_line(value: Any, *, pretty: bool = False) -> bytes:  # noqa: ANN401 (anything that JSON can represent)
    """Return a value as JSON on one line, newline included."""
    return _dump(value, pretty=pretty)


def load(content: bytes) -> Any:  # noqa: ANN401 (anything that JSON can represent)
    """Return the value of a JSON text; raises ValueError."""
    return orjson.loads(content)


def plain(value: Any) -> Any:  # noqa: ANN401
    """Convert dataclasses to dictionaries, without facts that are unknown and parts that have none."""
    facts = facts_of(type(value))
    if facts is not None:
        return _known_facts(value, facts)
    if isinstance(value, tuple):
        return [item if type(item) is str else plain(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def _known_facts(part: Any, facts: tuple[tuple[str, str, bool], ...]) -> dict[str, Any]:  # noqa: ANN401
    known = {}
    for attribute, name, _ in facts:
        value = getattr(part, attribute)
        if value is None:
            continue
        if isinstance(value, int):
            if value not in INT64:
                continue
        elif type(value) is not str:
            value = plain(value)
            if value == {}:
                continue
        known[name] = value
    return known


def _dump(value: Any, *, pretty: bool) -> bytes:  # noqa: ANN401
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 if pretty else 0)
    if text.isascii() and b"\x7f" not in text:
        # Most lines: nothing in them is UNSAFE. A copy: orjson's own has the memory of its buffer, twice a line's size.
        return text + b"\n"
    return text.decode().translate(ESCAPES).encode() + b"\n"
