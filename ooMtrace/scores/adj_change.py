# SPDX-License-Identifier: Apache-2.0
"""A change of an oom_score_adj: from a record of bpf/adj_changes.bpf.c to a row for people or a line of JSON. Pure."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from ooMtrace.errors import DecodeError
from ooMtrace.explain.amounts import plural
from ooMtrace.explain.facts import clean
from ooMtrace.probe.wire import S64, UNKNOWN, Task

MAX_PROCESS_CHANGES, MAX_CHANGES = 20, 2000
"""How many changes of one process, and of all together, are reported in about a second (bpf/adj_change.h)."""


class Wire(ctypes.Structure):
    """`struct adj_change` in bpf/adj_change.h."""

    _fields_ = (
        ("ktime", S64),
        ("before", S64),
        ("after", S64),
        ("skipped", S64),
        ("dropped", S64),
        ("started", S64),
        ("uid", S64),
        ("target", Task),
        ("writer_uid", S64),
        ("writer", Task),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """The process that wrote a value, or the one whose value it is.

    Attributes:
        pid: In the initial pid namespace, as all ids here; None where the kernel reveals the thread only.
        tid: The thread that wrote, or the one that was named in the path of the file.
        comm: Name of the thread.
        uid: Its user, real; None if that is not known.
    """

    pid: int | None
    tid: int
    comm: str
    uid: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjChange:
    """One write to an oom_score_adj.

    Attributes:
        ktime: When: CLOCK_MONOTONIC, nanoseconds.
        before: The value before; None if that is not known.
        after: The value that was written; it may be the same.
        writer: Who wrote it.
        target: Whose value it is.
        started: When the target was started: CLOCK_BOOTTIME, nanoseconds; None if that is not known.
        skipped: Changes of the target that were not reported since its last one that was.
        dropped: Changes of all processes that were not reported before this one.
    """

    ktime: int
    before: int | None
    after: int
    writer: Party
    target: Party
    started: int | None
    skipped: int
    dropped: int


def decode_change(data: bytes) -> AdjChange:
    """Decode one perf record; the perf buffer pads it.

    Raises:
        DecodeError: It is too short.
    """
    if len(data) < ctypes.sizeof(Wire):
        raise DecodeError(f"a change of oom_score_adj has {len(data)} bytes, not {ctypes.sizeof(Wire)}")
    found = Wire.from_buffer_copy(data)
    return AdjChange(
        ktime=found.ktime,
        before=_known(found.before),
        after=found.after,
        writer=_party(found.writer, found.writer_uid),
        target=_party(found.target, found.uid),
        started=_known(found.started),
        skipped=found.skipped,
        dropped=found.dropped,
    )


def _party(task: Task, uid: int) -> Party:
    return Party(
        pid=_known(task.pid), tid=task.tid, comm=task.comm.decode("utf-8", "backslashreplace"), uid=_known(uid)
    )


def _known(value: int) -> int | None:
    return None if value == UNKNOWN else value


def change_plain(change: AdjChange, time: str) -> dict[str, Any]:
    """Return a change for JSON, without what is not known.

    Args:
        change: What to show.
        time: When it was, RFC 3339.
    """
    facts = {
        "event": "oom_score_adj_change",
        "time": time,
        "before": change.before,
        "after": change.after,
        "writer": _party_plain(change.writer),
        "target": _party_plain(change.target),
        "skipped": change.skipped or None,
    }
    return {key: value for key, value in facts.items() if value is not None}


def _party_plain(party: Party) -> dict[str, Any]:
    facts = {"pid": party.pid, "tid": party.tid, "comm": party.comm, "uid": party.uid}
    return {key: value for key, value in facts.items() if value is not None}


def change_text(change: AdjChange, time: str) -> str:
    """Return a change as one row for people, safe for a terminal, newline included."""
    before = "?" if change.before is None else change.before
    skipped = f" (after {plural(change.skipped, 'change')} not shown)" if change.skipped else ""
    same = change.writer.pid is not None and change.writer.pid == change.target.pid
    target = "its own" if same else f"that of {_name(change.target)}"
    return f"{time}  {before} -> {change.after}{skipped}: {_name(change.writer)} changed {target}\n"


def _name(party: Party) -> str:
    numbers = [f"pid {party.pid}"] if party.pid is not None else []
    if party.tid != party.pid:
        numbers.append(f"thread {party.tid}")
    if party.uid is not None:
        numbers.append(f"uid {party.uid}")
    return f"{clean(party.comm)} ({', '.join(numbers)})"
