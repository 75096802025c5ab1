# SPDX-License-Identifier: Apache-2.0
"""How many changes were not reported, and changes that are passed on as they are."""

from __future__ import annotations

from typing import cast

import pytest

from ooMtrace.probe.loader import Probe
from ooMtrace.probe.wire import UNKNOWN, Task
from ooMtrace.scores.adj_change import Wire
from ooMtrace.scores.adj_plan import FIELDS, read_format
from ooMtrace.scores.adj_source import AdjSource, read_values

FORMAT = """name: oom_score_adj_update
ID: 7
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

\tfield:pid_t pid;\toffset:8;\tsize:4;\tsigned:1;
\tfield:char comm[16];\toffset:12;\tsize:16;\tsigned:0;
\tfield:short oom_score_adj;\toffset:28;\tsize:2;\tsigned:1;
"""


class Counter:
    """Has the number of changes that the kernel side did not report, in place of an attached probe."""

    def __init__(self, value: int, records: list[bytes]) -> None:
        self._counts, self._records = {"changes": value}, records

    def count(self, counter: str) -> int:
        return self._counts[counter]

    def read(self) -> list[bytes]:
        return self._records


@pytest.mark.parametrize("value", [0, 5, 300])
def test_what_was_not_reported_or_not_decoded_is_counted(value):
    warnings: list[str] = []
    source = AdjSource(cast(Probe, Counter(value, [b"short", b""])), warnings.append, dict)

    assert source.dropped() == value
    assert list(source.changes()) == []
    assert source.dropped() == value + 2
    assert len(warnings) == 2


def test_a_change_of_a_thread_whose_process_is_not_known_is_reported():
    record = bytes(Wire(ktime=1, before=UNKNOWN, after=3, target=Task(UNKNOWN, 41, UNKNOWN, b"t")))
    source = AdjSource(cast(Probe, Counter(0, [record])), pytest.fail, dict)

    assert [(one.target.pid, one.target.tid, one.before) for one in source.changes()] == [(None, 41, None)]


def test_only_processes_are_read_from_proc(tmp_path):
    for name in ("7", "self", "irq", "\u0667"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stat").write_text("7 (a) S" + " 0" * 18 + " 4711 0")
        (tmp_path / name / "oom_score_adj").write_text("5\n")

    assert read_values(tmp_path) == {7: (4711, 5)}


def test_the_fields_of_the_tracepoint_are_read_from_its_format(tmp_path):
    assert read_format(tmp_path) == {}
    folder = tmp_path / "kernel/tracing/events/oom/oom_score_adj_update"
    folder.mkdir(parents=True)
    (folder / "format").write_text(FORMAT)

    assert {name: read_format(tmp_path)[name] for name in FIELDS} == {
        "pid": (8, 4),
        "comm": (12, 16),
        "oom_score_adj": (28, 2),
    }
