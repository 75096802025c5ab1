# SPDX-License-Identifier: Apache-2.0
"""Changes of oom_score_adj: the record's layout, what is known of the value before, rows and lines, and the plan."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plan_features import features

from ooMtrace.errors import CannotTraceError, DecodeError
from ooMtrace.output.encode import dump_line
from ooMtrace.probe.loader import Probe
from ooMtrace.probe.wire import UNKNOWN, Task
from ooMtrace.scores.adj_change import (
    MAX_CHANGES,
    MAX_PROCESS_CHANGES,
    AdjChange,
    Party,
    Wire,
    change_plain,
    change_text,
    decode_change,
)
from ooMtrace.scores.adj_plan import adj_plan
from ooMtrace.scores.adj_source import AdjSource, Values, read_values

BPF = Path(__file__).parents[3] / "bpf"
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
TIME = "2026-11-28T12:00:00.000000Z"
RECORD = {"pid": (8, 4), "comm": (12, 16), "oom_score_adj": (28, 2)}


def record(pid: int = 40, **changed: int) -> bytes:
    """A change of process `pid`, started at tick 500, to 3, at the time 1000."""
    numbers = {"ktime": 1000, "before": UNKNOWN, "after": 3, "started": 500 * TICK_NS + 7, "uid": 33, "writer_uid": 0}
    target, writer = Task(pid, 41, UNKNOWN, b"target"), Task(30, 30, UNKNOWN, b"writer")
    return bytes(Wire(target=target, writer=writer, **{**numbers, **changed}))


class Buffer:
    """Has records in place of the attached probe's perf buffer."""

    def __init__(self, *records: bytes) -> None:
        self._records = list(records)

    def read(self) -> list[bytes]:
        return self._records


def changes(*records: bytes, values: Values | None = None, read_at: int = 500) -> list[AdjChange]:
    probe = cast(Probe, Buffer(*records))
    return list(AdjSource(probe, pytest.fail, lambda: dict(values or {}), lambda: read_at).changes())


def test_the_record_has_the_layout_and_the_limits_of_the_header(tmp_path):
    if not shutil.which("cc"):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no C compiler (cc)")
    names = [name for name, _ in Wire._fields_]
    wanted = [f"offsetof(struct adj_change, {name})" for name in names]
    wanted += ["sizeof(struct adj_change)", "MAX_PROCESS_CHANGES", "MAX_CHANGES"]
    prints = "".join(f'printf("%lld\\n", (long long)({one}));' for one in wanted)
    source = "#include <stddef.h>\n#include <stdio.h>\ntypedef long long s64;\n#include <adj_change.h>\n"
    (tmp_path / "print.c").write_text(f"{source}int main(void) {{ {prints} }}\n")
    subprocess.run(["cc", "-Werror", f"-I{BPF}", "-o", tmp_path / "print", tmp_path / "print.c"], check=True)
    printed = subprocess.run([tmp_path / "print"], capture_output=True, text=True, check=True).stdout

    expected = [getattr(Wire, name).offset for name in names]
    assert list(map(int, printed.split())) == [*expected, ctypes.sizeof(Wire), MAX_PROCESS_CHANGES, MAX_CHANGES]


def test_a_record_is_decoded_and_padding_is_ignored():
    change = decode_change(record(before=-1000, skipped=2, dropped=5) + bytes(4))

    assert change == AdjChange(
        ktime=1000,
        before=-1000,
        after=3,
        writer=Party(pid=30, tid=30, comm="writer", uid=0),
        target=Party(pid=40, tid=41, comm="target", uid=33),
        started=500 * TICK_NS + 7,
        skipped=2,
        dropped=5,
    )


def test_a_record_that_is_too_short_is_refused():
    with pytest.raises(DecodeError, match="has 8 bytes"):
        decode_change(bytes(8))


def test_the_first_value_before_is_that_of_proc_and_is_used_once():
    found = changes(record(), record(ktime=1001), values={40: (500, -17)})

    assert [change.before for change in found] == [-17, None]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"started": 600 * TICK_NS}, "another process that has the pid now"),
        ({"started": UNKNOWN}, "perhaps another process"),
        ({"ktime": 400}, "/proc was read after the change"),
        ({"dropped": 1}, "the process may have been changed unseen"),
        ({"pid": 50}, "started after /proc was read"),
    ],
)
def test_the_value_of_proc_is_not_used_where_it_may_be_wrong(changed, reason):
    (change,) = changes(record(**changed), values={40: (500, -17)})

    assert change.before is None, reason


def test_the_value_that_the_kernel_side_knows_takes_precedence():
    (change,) = changes(record(before=9), values={40: (500, -17)})

    assert change.before == 9


def test_changes_of_several_cpus_are_in_the_order_of_time():
    found = changes(record(ktime=1005), record(ktime=1002), record(ktime=1009))

    assert [change.ktime for change in found] == [1002, 1005, 1009]


def test_the_values_of_proc_are_read_without_what_has_exited(tmp_path):
    for name, stat, adj in (("7", "7 (a) b) S" + " 0" * 18 + " 4711 0", "-5\n"), ("8", "", "0\n"), ("self", "", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stat").write_text(stat)
        (tmp_path / name / "oom_score_adj").write_text(adj)
    (tmp_path / "9").mkdir()

    assert read_values(tmp_path) == {7: (4711, -5)}


def test_a_line_has_no_key_for_what_is_not_known():
    change = decode_change(record(pid=UNKNOWN, uid=UNKNOWN))

    assert change_plain(change, TIME) == {
        "event": "oom_score_adj_change",
        "time": TIME,
        "after": 3,
        "writer": {"pid": 30, "tid": 30, "comm": "writer", "uid": 0},
        "target": {"tid": 41, "comm": "target"},
    }


@pytest.mark.parametrize(
    ("changed", "row"),
    [
        ({"before": 0}, "0 -> 3: writer (pid 30, uid 0) changed that of target (pid 40, thread 41, uid 33)"),
        ({"pid": 30}, "? -> 3: writer (pid 30, uid 0) changed its own"),
        (
            {"pid": 30, "skipped": 1200},
            "? -> 3 (after 1,200 changes not shown): writer (pid 30, uid 0) changed its own",
        ),
        (
            {"pid": UNKNOWN, "uid": UNKNOWN},
            "? -> 3: writer (pid 30, uid 0) changed that of target (thread 41)",
        ),
    ],
)
def test_a_row_says_who_changed_whose_and_how(changed, row):
    assert change_text(decode_change(record(**changed)), TIME) == f"{TIME}  {row}\n"


@pytest.mark.parametrize("name", [b"\x1b[2J\n", "é‮b".encode(), b"\xff"])
def test_names_cannot_control_a_terminal_or_begin_a_line(name):
    change = replace(decode_change(record()), writer=decode_change(_named(name)).writer)
    row = change_text(change, TIME)

    assert row.count("\n") == 1
    assert re.fullmatch(r"[ -~é]+\n", row)
    assert change_plain(change, TIME)["writer"]["comm"].encode()  # no surrogates: JSON has none


def _named(name: bytes) -> bytes:
    target, writer = Task(40, 41, UNKNOWN, b"target"), Task(30, 30, UNKNOWN, name)
    return bytes(Wire(ktime=1, after=3, target=target, writer=writer))


@settings(deadline=None)
@given(st.binary(min_size=ctypes.sizeof(Wire), max_size=ctypes.sizeof(Wire) + 8))
def test_any_record_gives_one_row_and_one_line(data):
    change = decode_change(data)

    assert change_text(change, TIME).count("\n") == 1
    assert dump_line(change_plain(change, TIME)).count(b"\n") == 1


def asked_for(*defined: str) -> set[str]:
    """Return the macros that the program uses without defining them, as the preprocessor with these ones sees it."""
    sources = "".join((BPF / name).read_text() for name in ("adj_changes.bpf.c",))
    record_part, rest = sources.split("#ifdef WITH_RECORD")[1].split("#else")
    text = record_part if "WITH_RECORD" in defined else rest
    return set(re.findall(r"\b(?:OFF|OOM_SCORE_ADJ_UPDATE)_[A-Z_]+\b", text))


def test_with_type_information_the_raw_tracepoint_is_used():
    plan = adj_plan(features("linux-6.18-no-kprobes-no-fentry"), {})

    assert [str(hook) for hook in plan.hooks] == ["raw_tracepoint:oom_score_adj_update"]
    assert set(plan.macros) == asked_for()


def test_without_type_information_the_record_is_used():
    plan = adj_plan(features("no-btf"), RECORD)

    assert [str(hook) for hook in plan.hooks] == ["tracepoint:oom:oom_score_adj_update"]
    assert set(plan.macros) == {*asked_for("WITH_RECORD"), "WITH_RECORD"}
    assert plan.macros["OOM_SCORE_ADJ_UPDATE_OOM_SCORE_ADJ"] == 28


@pytest.mark.parametrize(
    ("host", "fact"),
    [
        ("no-capabilities", "loading BPF programs requires CAP_BPF"),
        ("lockdown-confidentiality", "kernel lockdown is in confidentiality mode"),
        ("no-tracefs-no-btf", "/sys/kernel/tracing cannot be read"),
        ("no-btf", "the kernel has no tracepoint oom:oom_score_adj_update"),
    ],
)
def test_a_host_where_it_is_impossible_says_why_and_what_to_do(host, fact):
    found: Any = pytest.raises(CannotTraceError)
    with found as caught:
        adj_plan(features(host), {})

    assert fact in caught.value.fact
    assert caught.value.hint
