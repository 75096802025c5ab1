# SPDX-License-Identifier: Apache-2.0
"""Logs put together at random from the corpus, behind random prefixes: each kill is found once, with its own facts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.log_kills import kills

from ooMtrace.kmsg.coverage import Coverage
from ooMtrace.kmsg.formats import dmesg
from ooMtrace.kmsg.to_record import Origin, with_seq
from ooMtrace.output.encode import plain

CORPUS = Path(__file__).parents[2] / "fixtures/kmsg"
ORIGIN = Origin("2026-11-24T04:00:00.000000Z")
LATEST = datetime(2026, 11, 24, 4, tzinfo=timezone.utc)
RELEVANT = re.compile(
    r"oom|Kill|Task|Mem-Info|[Cc]omm: |mems_allowed=|usage|stats for|pages (?:RAM|res|High)|Total swap"
    r"|\[ *(?:pid|[0-9]{1,7})\]"
)
FACTS_OF_THE_LOG = ("id", "time", "host", "derived", "missing", "seq", "observed")
"""They depend on the prefix; what is left is the kernel's."""


@dataclass(frozen=True)
class Sample:
    """A log's lines with their stamps, and the records that it gives."""

    name: str
    lines: tuple[tuple[float, str], ...]
    records: tuple[Any, ...]


def facts(record: Any) -> Any:
    """Return what a record states, without what depends on the prefix and on the order of the reports."""
    own = {key: value for key, value in record.items() if key not in FACTS_OF_THE_LOG}
    own["oom"] = {key: value for key, value in record["oom"].items() if key != "incident"}
    return own


def read(log: str, coverage: Coverage | None = None) -> list[Any]:
    return [plain(with_seq(kill, 1)) for kill in kills([log.encode()], ORIGIN, LATEST, coverage)]


def samples() -> list[Sample]:
    """Return the logs whose every line has a stamp and is one record."""
    found = []
    for path in sorted(CORPUS.glob("*.log")):
        if path.name.startswith(("format-", "made-", "host-6.18-v1-newline")):
            continue
        text = path.read_text(errors="backslashreplace")
        lines = [dmesg(line) for line in text.splitlines() if RELEVANT.search(line)]
        if not lines or any(line is None or line.ktime is None or line.caller for line in lines):
            continue
        stamped = tuple((line.ktime / 1e9, line.text) for line in lines if line and line.ktime is not None)
        if list(stamped) != sorted(stamped, key=lambda line: line[0]):
            continue
        records = read("".join(f"[{at:12.6f}] {line}\n" for at, line in stamped))
        if records and "\n" not in json.dumps(records):
            found.append(Sample(path.stem, stamped, tuple(facts(record) for record in records)))
    return found


SAMPLES = samples()


def clock(at: float) -> str:
    second = int(at)
    return f"{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"


Prefix = Callable[[str, float], str]
PREFIXES: tuple[Prefix, ...] = (
    lambda _, at: f"[{at:12.6f}] ",
    lambda _, at: f"<3>[{at:12.6f}] ",
    lambda _, at: f"> [{at:12.6f}] ",
    lambda _, at: f"    [{at:12.6f}] ",
    lambda _, at: f"17: [{at:12.6f}] ",
    lambda _, at: f"kern  :err   : [{at:12.6f}] ",
    lambda _, at: f"[{at:9.3f}] ",
    lambda host, at: f"{host}: [{at:12.6f}] ",
    lambda host, at: f"Mar 16 {clock(at)} {host} kernel: [{at:12.6f}] ",
    lambda host, at: f"Mar 16 {clock(at)} {host} kernel: ",
    lambda host, at: f"Mar 16 {clock(at)} 2026 {host} kernel: ",
    lambda host, at: f"Mar 16 {clock(at)} {host} kern.err kernel: [{at:12.6f}] ",
    lambda host, at: f"kern.log:17:Mar 16 {clock(at)} {host} kernel: [{at:12.6f}] ",
    lambda host, at: f"2026-03-16T{clock(at)}.{int(at % 1 * 1e6):06}+00:00 {host} kernel: ",
    lambda host, at: f"<3>1 2026-03-16T{clock(at)}Z {host} kernel - - - ",
    lambda _, at: f"2026-03-16T{clock(at)}Z stdout F [{at:12.6f}] ",
    lambda host, at: f"2026-03-16T{clock(at)}Z stdout F Mar 16 {clock(at)} {host} kernel: ",
    lambda _, at: f"[Mon Mar 16 {clock(at)} 2026] ",
    lambda host, at: f"Mon 2026-03-16 {clock(at)} UTC {host} kernel: ",
    lambda host, at: f"node-1  | Mar 16 {clock(at)} {host} kernel: [{at:12.6f}] ",
    lambda _, at: f"W/kernel  (    0): [{at:12.6f}] ",
    lambda host, at: f"Mar 16 {clock(at)} {host} [{at:12.6f}] ",
    lambda _, at: f"&lt;3&gt;[{at:12.6f}] ",
)


def wrapped(sample: Sample, prefix: Prefix, host: str, shift: float = 0) -> list[str]:
    return [f"{prefix(host, at + shift)}{text}\n" for at, text in sample.lines]


MIXES = settings(
    max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
SAMPLE, PREFIX = st.sampled_from(SAMPLES), st.sampled_from(PREFIXES)


def test_there_are_samples():
    assert len(SAMPLES) >= 20
    assert sum(len(sample.records) for sample in SAMPLES) > 40


def pids(records: Any) -> list[Any]:
    return sorted(record["process"].get("tid") or record["process"].get("pid") for record in records)


def assert_no_foreign_fact(records: list[Any], mixed: list[Sample]) -> None:
    """Compare each fact that a record has with those that the logs give for this kill when they are read alone."""
    own = [record for sample in mixed for record in sample.records]
    for record in records:
        same = [one for one in own if pids([one]) == pids([record])]
        differences = [list(foreign(facts(record), one)) for one in same]
        assert [] in differences, differences


def foreign(part: Any, whole: Any, name: str = "") -> list[str]:
    """Return the facts of `part` that `whole` does not have; those that it lacks are unknown, not foreign."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return [found for key, value in part.items() for found in foreign(value, whole.get(key), f"{name}.{key}")]
    if part == whole or name in (".message", ".oom.verdict", ".oom.group.size"):
        return []
    return [f"{name}: {part!r} instead of {whole!r}"]


@MIXES
@given(sample=SAMPLE, prefix=PREFIX)
def test_a_prefix_changes_no_fact(sample, prefix):
    coverage = Coverage()
    found = read("".join(wrapped(sample, prefix, "box1")), coverage)

    assert pids(found) == pids(sample.records)
    assert_no_foreign_fact(found, [sample])
    assert coverage.unrecognized_kills == 0


@MIXES
@given(parts=st.lists(st.tuples(SAMPLE, PREFIX), min_size=2, max_size=4))
def test_concatenated_logs_give_the_kills_of_each(parts):
    hosts = [f"box{i}" for i in range(len(parts))]
    log = "".join(
        "".join(wrapped(part[0], part[1], host, i * 5000))
        for i, (part, host) in enumerate(zip(parts, hosts, strict=True))
    )
    found = read(log)

    assert pids(found) == sorted(pid for sample, _ in parts for pid in pids(sample.records))
    assert_no_foreign_fact(found, [sample for sample, _ in parts])


@MIXES
@given(first=SAMPLE, second=SAMPLE, prefix=st.sampled_from(PREFIXES[8:17]), data=st.data())
def test_two_hosts_in_one_log_do_not_mix(first, second, prefix, data):
    if "web7" not in prefix("web7", 0):
        return
    logs = [wrapped(first, prefix, "web7"), wrapped(second, prefix, "db9")]
    mixed = []
    while any(logs):
        log = data.draw(st.sampled_from([log for log in logs if log]))
        mixed += [log.pop(0) for _ in range(min(len(log), data.draw(st.integers(1, 8))))]
    found = read("".join(mixed))

    assert pids(found) == sorted(pids(first.records) + pids(second.records))
    assert_no_foreign_fact(found, [first, second])


@MIXES
@given(sample=SAMPLE, data=st.data())
def test_a_prefix_that_changes_from_line_to_line_hides_no_kill_in_silence(sample, data):
    stamped = data.draw(st.booleans())
    some = st.sampled_from([prefix for prefix in PREFIXES if "100.1" in prefix("box1", 100.1)]) if stamped else PREFIX
    lines = [f"{data.draw(some)('box1', at)}{text}\n" for at, text in sample.lines]
    coverage = Coverage()
    found = read("".join(lines), coverage)

    assert found or coverage.unrecognized_kills
    assert not stamped or len(found) <= len(sample.records)
    for record in found:  # of a table with fewer rows
        record["oom"].pop("weighed", None)
        record["oom"].pop("candidates", None)
    assert_no_foreign_fact(found, [sample])
