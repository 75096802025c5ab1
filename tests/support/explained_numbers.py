# SPDX-License-Identifier: Apache-2.0
"""Which numbers an explanation may contain: those of the line, and those that docs/explain.md lists as computed.

Written from that list, not from the code: an explanation with any other number is wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from typing import Any

NUMBER = re.compile(r"[0-9][0-9,]*(?:\.[0-9]+)?")
CONSTANTS = {"1000", "0", "64", "60", "75", "1.32", "7", "2", "9", "137", "1"}
"""In the texts of rules: oom_score_adj -1000, kernel.sysrq 64, a heartbeat of 60 s, MaxRAMPercentage=75, and so on."""

SUGGESTIONS = {str(number) for number in range(1, 6)}
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
UNITS = {"": 1, "k": KIB, "m": MIB, "g": GIB}


def foreign_numbers(text: str, line: dict[str, Any]) -> list[str]:
    """Return the numbers in a text that are neither in the line nor computed from it by a listed rule."""
    moments = [one for path in ("time", "lost.from", "lost.to") if (one := instant(line, path))]
    allowed = {f"{one.second:02}{fraction}" for one in moments for fraction in ("", f".{one.microsecond // 1000:03}")}
    allowed |= {token for number in numbers(line) for token in shown(number)} | CONSTANTS | SUGGESTIONS
    for value in values(line):
        if isinstance(value, str):
            allowed |= {found.rstrip(",") for found in NUMBER.findall(value)}
    foreign = []
    for row in text.splitlines():
        for found in NUMBER.finditer(row.replace("#", " ")):
            token = found[0].rstrip(",")
            is_cut = "..." in row[found.end() : found.end() + 3] or found.end() == len(row) or found.start() in (0, 12)
            if token not in allowed and not (is_cut and is_part_of_text(token, line)):
                foreign.append(token)
    return foreign


def is_part_of_text(token: str, line: dict[str, Any]) -> bool:
    """Return whether a text of the line has these digits: it was cut or broken between them."""
    return any(isinstance(value, str) and token in value for value in values(line))


def shown(number: float) -> Iterator[str]:
    """Yield the ways in which a number may be written: as it is, and as a size in bytes."""
    if isinstance(number, int):
        yield from (str(abs(number)), f"{abs(number):,}", f"{abs(number) // KIB}")
    yield from (f"{abs(number) / MIB:,.1f}", f"{abs(number) / GIB:,.1f}", f"{abs(number):,.1f}")


def values(part: Any) -> Iterator[Any]:
    """Yield every value of a line, and the keys."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield key
            yield from values(value)
    elif isinstance(part, list):
        for value in part:
            yield from values(value)
    else:
        yield part


def numbers(line: dict[str, Any]) -> Iterator[float]:
    """Yield the numbers of a line and those computed from it."""
    yield from (value for value in values(line) if type(value) is int)
    yield from sums(line)
    yield from shares(line)
    yield from periods(line)
    yield from choices(line)
    yield from runtimes(line)
    yield from counts(line)


def get(line: Any, path: str) -> Any:
    for name in path.split("."):
        line = line.get(name) if isinstance(line, dict) else None
    return line


def amount(line: Any, path: str) -> int:
    value = get(line, path)
    return value if type(value) is int and value >= 0 else 0


def members(line: Any, path: str) -> list[Any]:
    value = get(line, path)
    return value if isinstance(value, list) else []


def parts(line: dict[str, Any]) -> list[list[int]]:
    """Return the kinds of memory: of the victim, and of the cgroup by the kernel's statistics."""
    held = [amount(line, f"process.memory.{name}") for name in ("anon", "file", "shmem", "page_tables", "swap")]
    lists = [held]
    stat = get(line, "oom.memcg.stat")
    stat = stat if isinstance(stat, dict) else {}
    for prefix in ("", "total_"):
        for anon, cache in product(("anon", "rss"), ("file", "cache")):
            of = {name: amount(stat, name) for name in (*stat, "shmem", "kernel", "pagetables")}
            a, c = (of.get(prefix + name, of.get(name, 0)) for name in (anon, cache))
            shmem = min(of.get(f"{prefix}shmem", of["shmem"]), c)
            kinds = [a, c - shmem, shmem, of["pagetables"], max(0, of["kernel"] - of["pagetables"])]
            without = [*kinds[:4], 0]
            for kind in (kinds, without):
                lists += [kind, [*kind, max(0, amount(line, "oom.memcg.usage") - sum(kind))]]
    return lists


def sums(line: dict[str, Any]) -> Iterator[int]:
    resident = sum(amount(line, f"process.memory.{name}") for name in ("anon", "file", "shmem"))
    yield resident
    yield max(0, amount(line, "oom.memcg.usage") - resident - amount(line, "process.memory.page_tables"))
    for kinds in parts(line):
        yield from (*kinds, sum(kinds), kinds[0] - amount(line, "process.memory.anon"))


def shares(line: dict[str, Any]) -> Iterator[float]:
    for kinds in parts(line):
        whole = sum(kinds)
        yield from (kind * 100 // whole for kind in kinds if whole)
    resident = sum(amount(line, f"process.memory.{name}") for name in ("anon", "file", "shmem"))
    yield amount(line, "exit.after_us") / 1000
    if total := amount(line, "oom.limit_bytes"):
        yield resident * 100 // total
    yield (1000 - amount(line, "process.oom_score_adj")) / 10


def instant(line: dict[str, Any], path: str) -> datetime | None:
    try:
        return datetime.fromisoformat(get(line, path).replace("Z", "+00:00"))
    except (AttributeError, ValueError):
        return None


def periods(line: dict[str, Any]) -> Iterator[float]:
    born, died = instant(line, "process.creation.time"), instant(line, "time")
    begin, end = instant(line, "lost.from"), instant(line, "lost.to")
    for first, last in ((born, died), (begin, end)):
        if first is None or last is None or last < first:
            continue
        seconds = (last - first).total_seconds()
        whole = int(seconds)
        micros = (last - first) // timedelta(microseconds=1)
        yield from (micros // 1000, micros, micros * 10 // 1_000_000 / 10)
        yield from (whole // 60, whole % 60, whole // 3600, whole % 3600 // 60, whole // 86400, whole % 86400 // 3600)
        if seconds:
            yield int(amount(line, "process.memory.anon") / seconds)
            yield int(amount(line, "process.memory.anon") / (seconds / 3600))
    for moment in (died, begin, end):
        if moment:
            yield from (moment.microsecond // 1000, moment.year)


def choices(line: dict[str, Any]) -> Iterator[int]:
    pages = amount(line, "oom.points.rss")
    resident = sum(amount(line, f"process.memory.{name}") for name in ("anon", "file", "shmem"))
    page = resident // pages if pages else 0
    unit = amount(line, "oom.limit_bytes") // page // 1000 if page else 0
    total, adj = get(line, "oom.points.total"), get(line, "process.oom_score_adj")
    for one in members(line, "oom.candidates"):
        points = get(one, "points")
        if unit and all(type(value) is int for value in (total, adj, points)):
            yield adj - ((total - points) // unit + 1)
    order = get(line, "oom.order")
    if type(order) is int and 0 <= order <= 20:
        yield 1 << order


def runtimes(line: dict[str, Any]) -> Iterator[int]:
    resident = sum(amount(line, f"process.memory.{name}") for name in ("anon", "file", "shmem"))
    limit = amount(line, "oom.memcg.limit")
    yield limit * 3 // 4 // MIB
    for percentage in re.findall(r"MaxRAMPercentage=([0-9]+)", str(get(line, "process.command_args"))):
        heap = limit * int(percentage) // 100
        yield from (heap, resident - heap, limit - heap)
    if resident:
        yield limit // resident
    for value in values(line):
        if not isinstance(value, str):
            continue
        for digits, unit in re.findall(r"([0-9]{1,15})([kKmMgG]?)", value):
            heap = int(digits) * UNITS[unit.lower()]
            yield from (heap, int(digits) * MIB, resident - heap, limit - heap)


def counts(line: dict[str, Any]) -> Iterator[int]:
    connections = members(line, "process.connections")
    ends = Counter(str(get(one, "remote")) + str(get(one, "service")) for one in connections)
    yield from ends.values()
    yield from range(1, len(members(line, "oom.candidates")) + 2)
