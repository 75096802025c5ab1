# SPDX-License-Identifier: Apache-2.0
"""From a record to one line of bytes. Pure, and the only user of orjson."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import orjson

from ooMtrace.record import Record, is_known
from ooMtrace.record.fields import name_of

LINE_LIMIT = 8000
"""Bytes, newline included: log shippers cut or drop longer lines."""

EXPENDABLE: tuple[tuple[str, int | None], ...] = (
    ("oom.candidates", None),
    ("oom.trigger.cgroup", None),
    ("cgroup.v2", None),
    ("process.environment", None),
    ("process.connections", 8),
    ("process.command_args", 0),
    ("process.title", 0),
    ("process.connections", 0),
    ("process.working_directory", None),
    ("process.executable", None),
    ("oom.group", None),
    ("oom.memcg.path", None),
    ("cgroup.path", None),
    ("namespace.addresses", None),
    ("job", None),
)
"""What a line that is too long loses, in this order: all of it or, with a number, half and half again down to that."""

SHORT = 64
"""Characters of a text in a list that is not worth cutting."""

RESERVE = 400
"""Bytes left for `truncated` itself."""

UNSAFE = (*range(0x7F, 0xA0), 0x2028, 0x2029)
"""What JSON does not escape: control characters that a terminal may obey, and other ends of lines."""

ESCAPES = {one: f"\\u{one:04x}" for one in UNSAFE}


def encode(told: Record, *, pretty: bool = False) -> bytes:
    """Return the JSON line, newline included; `pretty` spreads it over several lines for a terminal."""
    fact = plain(told)
    cut = _shorten(fact)
    if cut:
        fact["truncated"] = sorted({*fact.get("truncated", ()), *cut})
    order = map(name_of, fields(told))
    return _dump({name: fact[name] for name in order if name in fact}, pretty=pretty)


def dump(value: Any) -> bytes:  # noqa: ANN401 (anything that JSON can say)
    """Return a value as indented JSON, newline included."""
    return _dump(value, pretty=True)


def _dump(value: Any, *, pretty: bool) -> bytes:  # noqa: ANN401
    options = orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if pretty else 0)
    return orjson.dumps(value, option=options).decode().translate(ESCAPES).encode()


def plain(value: Any) -> Any:  # noqa: ANN401
    """Turn dataclasses into dictionaries, without what is None or holds nothing else: unknown is absent."""
    if is_dataclass(value):
        items = ((name_of(one), plain(getattr(value, one.name))) for one in fields(value))
        return {name: item for name, item in items if is_known(item) and item != {}}
    if isinstance(value, Mapping):
        return dict(value)
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def _shorten(fact: dict[str, Any]) -> set[str]:
    """Take expendable facts from the line until it is short enough; return their names."""
    cut: set[str] = set()
    if len(_dump(fact, pretty=False)) + RESERVE <= LINE_LIMIT:
        return cut
    for name, least in EXPENDABLE:
        while len(_dump(fact, pretty=False)) + RESERVE > LINE_LIMIT and _cut(fact, name, least):
            cut.add(name)
    _squeeze(fact, cut)
    return cut


def _squeeze(fact: dict[str, Any], cut: set[str]) -> None:
    """Halve whatever is longest, and note its name, until it fits: no text is worth more than its line."""
    while len(_dump({**fact, "truncated": [*fact.get("truncated", ()), *cut]}, pretty=False)) > LINE_LIMIT:
        name, part, key = max(_texts(fact), key=lambda one: len(_dump(one[1][one[2]], pretty=False)))
        part[key] = _half(part[key])
        cut.add(name)


def _texts(part: dict[str, Any], above: str = "") -> Iterator[tuple[str, dict[str, Any], str]]:
    for key, value in part.items():
        if isinstance(value, dict):
            yield from _texts(value, f"{above}{key}.")
        elif isinstance(value, (str, list)):
            yield f"{above}{key}", part, key


def _cut(fact: dict[str, Any], name: str, least: int | None) -> bool:
    """Halve a fact, or remove it; say whether there was anything to cut."""
    *parents, last = name.split(".")
    for parent in parents:
        fact = fact.get(parent, {})
    if least is None:
        return fact.pop(last, None) is not None
    whole = fact.get(last, "")
    half = _half(whole)
    if len(half) < least or half == whole:
        return False
    fact[last] = half
    return True


def _half(value: Any) -> Any:  # noqa: ANN401 (a text or a list)
    """Take away half of a text or of a list; of a list of texts first half of the longest, for one may be too long."""
    longest = max(range(len(value)), key=lambda i: len(value[i]), default=0)
    if isinstance(value, list) and value and isinstance(value[longest], str) and len(value[longest]) > SHORT:
        return [text[: len(text) // 2] if i == longest else text for i, text in enumerate(value)]
    return value[: len(value) // 2]
