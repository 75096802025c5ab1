# SPDX-License-Identifier: Apache-2.0
"""From a record to one line of bytes. Pure, and the only user of orjson."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from typing import Any

import orjson

from ooMtrace.record import OomKill

LINE_LIMIT = 8000
"""Bytes, newline included: log shippers cut or drop longer lines."""

EXPENDABLE = ("oom.candidates", "oom.trigger.cgroup", "cgroup.v2", "oom.group", "oom.memcg.path", "cgroup.path")
"""What a line that is too long loses, in this order. Only cgroup paths can grow that long."""

UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029]")
"""What JSON does not escape: control characters that a terminal may obey, and other ends of lines."""


def encode(kill: OomKill, *, pretty: bool = False) -> bytes:
    """Return the JSON line, newline included; `pretty` spreads it over several lines for a terminal."""
    fact = plain(kill)
    cut = _shorten(fact)
    if cut:
        fact = plain(replace(kill, truncated=tuple(cut)))
        for name in cut:
            _remove(fact, name)
    return _dump(fact, pretty=pretty)


def dump(value: Any) -> bytes:  # noqa: ANN401 (anything that JSON can say)
    """Return a value as indented JSON, newline included."""
    return _dump(value, pretty=True)


def _dump(value: Any, *, pretty: bool) -> bytes:  # noqa: ANN401
    options = orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if pretty else 0)
    line = orjson.dumps(value, option=options).decode()
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", line).encode()


def plain(value: Any) -> Any:  # noqa: ANN401
    """Turn dataclasses into dictionaries, without what is None or holds nothing else: unknown is absent."""
    if is_dataclass(value):
        items = ((one.name, plain(getattr(value, one.name))) for one in fields(value))
        return {name: item for name, item in items if item is not None and item != {}}
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def _shorten(fact: dict[str, Any]) -> list[str]:
    """Remove expendable facts from the line until it is short enough; return their names."""
    cut: list[str] = []
    for name in EXPENDABLE:
        if len(_dump(fact, pretty=False)) + len(str(EXPENDABLE)) <= LINE_LIMIT:
            break
        if _remove(fact, name):
            cut.append(name)
    return cut


def _remove(fact: dict[str, Any], name: str) -> bool:
    *parents, last = name.split(".")
    for parent in parents:
        fact = fact.get(parent, {})
    return fact.pop(last, None) is not None
