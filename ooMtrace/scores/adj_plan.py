# SPDX-License-Identifier: Apache-2.0
"""What is compiled and attached to trace changes of oom_score_adj."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ooMtrace.errors import CannotTraceError
from ooMtrace.kernel.build import read
from ooMtrace.kernel.features import Features, parse_format
from ooMtrace.kernel.obstacles import Reason, obstacles
from ooMtrace.kernel.plan import Hook, Plan

PROGRAM, FUNCTION = "adj_changes.bpf.c", "on_oom_score_adj_update"
FIELDS = ("pid", "comm", "oom_score_adj")
OFFSETS = (
    "OFF_TASK_TGID",
    "OFF_TASK_PID",
    "OFF_TASK_COMM",
    "OFF_TASK_SIGNAL",
    "OFF_TASK_GROUP_LEADER",
    "OFF_TASK_REAL_CRED",
    "OFF_TASK_START_BOOTTIME",
    "OFF_CRED_UID",
    "OFF_SIGNAL_OOM_SCORE_ADJ",
)

Format = Mapping[str, tuple[int, int]]


def read_format(sys: Path = Path("/sys")) -> Format:
    """Return the fields of the tracepoint's record: name -> offset and size in bytes; none if it cannot be read."""
    return parse_format(read(sys / "kernel/tracing/events/oom/oom_score_adj_update/format"))


def adj_plan(features: Features, record: Format) -> Plan:
    """Choose the raw tracepoint where the kernel has type information, or else the tracepoint's record.

    Args:
        features: Of the running kernel.
        record: Fields of the tracepoint's record.

    Raises:
        CannotTraceError: Neither is possible.
    """
    found = {obstacle.level: Reason(obstacle.fact, obstacle.hint) for obstacle in obstacles(features)}
    if "reduced" not in found and features.offsets is not None:
        macros = {name: features.offsets.macros[name] for name in OFFSETS}
        return Plan("reduced", PROGRAM, macros, (Hook("raw_tracepoint", "oom_score_adj_update", FUNCTION),), ())
    if "minimal" in found:
        fact, hint = found["minimal"]
        raise CannotTraceError(f"changes of oom_score_adj cannot be traced: {fact}", hint)
    if not all(name in record for name in FIELDS):
        raise CannotTraceError("the kernel has no tracepoint oom:oom_score_adj_update", "boot Linux 5.10 or later")
    macros = {f"OOM_SCORE_ADJ_UPDATE_{name.upper()}": record[name][0] for name in FIELDS}
    hook = Hook("tracepoint", "oom:oom_score_adj_update", FUNCTION)
    return Plan("minimal", PROGRAM, {**macros, "WITH_RECORD": 1}, (hook,), ())
