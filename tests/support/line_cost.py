# SPDX-License-Identifier: Apache-2.0
"""What a line costs from event to bytes: Python calls, and CPU time beside that of another tree in the same run.

    PYTHONPATH=tests .venv/bin/python -m support.line_cost [OTHER_TREE]

The kills are recorded ones (tests/fixtures/records), repeated with other process ids, as in a storm: each has a trigger
of its own, so that the assembler keeps as many incidents as it may.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from ooMtrace.assemble.assembler import Assembler
from ooMtrace.enrich.chain import enrichers
from ooMtrace.kernel.snapshot import HostSnapshot, take_snapshot
from ooMtrace.output.encode import encode
from ooMtrace.probe import wire
from ooMtrace.record import Host, OomKill, missing_facts
from ooMtrace.settings import Settings
from ooMtrace.sources.probe_source import ProbeSource
from support.recorded_kills import FIXTURES, RECORDINGS, at

ROUNDS = 3
KILLS = 300
TESTS = Path(__file__).parents[1]
MS = 1_000_000
MARKS = (wire.KIND_DYING, wire.KIND_KILLED, wire.KIND_SHARER)
KERNEL_MODULES = ("posix", "_io", "io", "_socket", "select", "fcntl", "mmap")
NO_CALLS = ("fspath", "text_encoding")
"""Functions in these that ask the kernel nothing."""


class RecordedProbe:
    """Perf buffers that were read before: each `read` returns the next batch."""

    def __init__(self, batches: list[list[bytes]]) -> None:
        self._batches = batches

    def read(self) -> list[bytes]:
        return self._batches.pop(0) if self._batches else []


class NoLog:
    """Kills since boot: none before these."""

    base: int | None = 0

    def record_delivery(self, nth: int, tid: int | None) -> None:
        pass


def storm(name: str, count: int) -> list[list[bytes]]:
    """Return the events of so many kills like a recorded one; after each the buffers are empty."""
    recorded = [path.read_bytes() for path in sorted(FIXTURES.glob(f"records/{name}-[0-9].bin"))]
    return [batch for nth in range(count) for batch in ([_moved(raw, nth) for raw in recorded], [])]


def _moved(raw: bytes, nth: int) -> bytes:
    """Return a recorded event as that of the nth kill after it."""
    kind = int.from_bytes(raw[:8], sys.byteorder)
    structures = {wire.KIND_CONTEXT: wire.Context, wire.KIND_EXIT: wire.Exit, **dict.fromkeys(MARKS, wire.VictimEvent)}
    moved = bytearray(raw)
    event: Any = structures[kind].from_buffer(moved)
    tasks = [event.victim.task, event.trigger] if kind in MARKS else [event]
    for task in tasks:
        for name in ("pid", "tid"):
            if getattr(task, name, wire.UNKNOWN) != wire.UNKNOWN:
                setattr(task, name, getattr(task, name) + 10 * nth)
    event.ktime += MS * nth
    if event.signalled_at != wire.UNKNOWN:
        event.signalled_at += MS * nth
    if kind in MARKS and event.ordinal != wire.UNKNOWN:
        event.ordinal += nth
    assert ctypes.sizeof(structures[kind]) <= len(raw)
    return bytes(moved)


def lines(name: str, batches: list[list[bytes]], snapshot: Callable[[], HostSnapshot] = take_snapshot) -> list[bytes]:
    """Return the lines of these events: decoded, assembled, enriched and encoded as the tracer does."""
    kernel: dict[str, Any] = json.loads((FIXTURES / "kernel.json").read_text())
    host = Host(name="vm", boot_id="6b1f0c52-3a77-4a11-9c38-0d7f5d3f9e21", kernel=kernel["release"])
    symbols = {name: (start, end) for name, (start, end) in kernel["symbols"].items()}
    settings = dict(RECORDINGS[name])
    level = settings.pop("level", "reduced")
    assembler = Assembler(host, symbols, level, **settings)
    source = ProbeSource(RecordedProbe(list(batches)), assembler, print, snapshot)  # type: ignore[arg-type]
    chain = enrichers(Settings(), host_pids=False)
    put_out: list[bytes] = []

    def put(kills: Iterable[OomKill]) -> None:
        for kill in kills:
            for enrich in (*chain.urgent, *chain.later):
                kill = enrich(kill)  # noqa: PLW2901
            kill = replace(kill, missing=(*missing_facts(kill), *kill.missing))  # noqa: PLW2901
            put_out.append(encode(replace(kill, seq=len(put_out) + 1)))

    for _ in range(len(batches) // 2):
        put(source.kills(NoLog()))
    put(source.drain(NoLog()))
    return put_out


def python_calls(work: Callable[[], object]) -> int:
    """Return how many Python functions a piece of work calls, resumed generators included."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def system_calls(work: Callable[[], object]) -> Counter[str]:
    """Return which functions that ask the kernel a piece of work calls, and how often.

    They are those of Python's modules for system calls, and the methods of files. What a thread of its own asks is not
    counted.
    """
    calls: Counter[str] = Counter()

    def count(_frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call":
            of_file = isinstance(getattr(function, "__self__", None), io.IOBase)
            if (of_file or function.__module__ in KERNEL_MODULES) and function.__name__ not in NO_CALLS:
                calls[function.__name__] += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def snapshots() -> Iterator[HostSnapshot]:
    """Yield the host at the recorded moment, and a millisecond later with each kill."""
    now = HostSnapshot(**json.loads((FIXTURES / "kernel.json").read_text())["now"])
    ktime = now.monotonic
    while True:
        yield at(now, ktime)
        ktime += MS


def measure() -> dict[str, Any]:
    """Return CPU time (microseconds) and Python calls of a line, and a checksum of the lines, of each recording."""
    result = {}
    for name in RECORDINGS:
        batches = storm(name, KILLS)
        begin = time.process_time()
        found = lines(name, batches)
        spent = time.process_time() - begin
        calls = python_calls(partial(lines, name, batches))
        known = lines(name, batches, partial(next, snapshots()))
        result[name] = {
            "us": spent / len(found) * 1e6,
            "calls": calls / len(found),
            "lines": hashlib.sha256(b"".join(known)).hexdigest(),
        }
    return result


def main() -> None:
    """Print one row for each recording; with another tree both are measured in turn, and the best rounds compared."""
    if sys.argv[1:] == ["--measure"]:
        print(json.dumps(measure()))
        return
    trees = [TESTS.parent, *map(Path, sys.argv[1:])]
    best: list[dict[str, Any]] = [{} for _ in trees]
    for _ in range(ROUNDS):
        for rows, tree in zip(best, trees, strict=True):
            environment = {**os.environ, "PYTHONPATH": str(TESTS)}
            command = [sys.executable, "-m", "support.line_cost", "--measure"]
            out = subprocess.run(command, env=environment, cwd=tree, check=True, capture_output=True)
            for name, row in json.loads(out.stdout).items():
                rows[name] = min(rows.get(name, row), row, key=lambda row: float(row["us"]))
    for name, row in best[0].items():
        print(f"{name:<14} {row['us']:7.1f} us {row['calls']:7.1f} calls", end="")
        for other in (rows[name] for rows in best[1:]):
            is_same = "same lines" if other["lines"] == row["lines"] else "OTHER LINES"
            print(f" | {other['us']:7.1f} us {other['calls']:7.1f} calls, ", end="")
            print(f"ratio {row['us'] / other['us']:.2f}, {is_same}", end="")
        print()


if __name__ == "__main__":
    main()
