# SPDX-License-Identifier: Apache-2.0
"""From the bytes of the perf buffer to a Sighting. Pure."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import fields

from ooMtrace.errors import DecodeError
from ooMtrace.probe import wire
from ooMtrace.sighting import Decision, Kind, MemcgLevel, Rss, Sighting, Task, Victim

FIXED = ctypes.sizeof(wire.Sighting)


def decode(record: bytes) -> Sighting:
    """Decode one record.

    Raises:
        DecodeError: The record is too short, or its parts do not fit together.
    """
    if len(record) < FIXED:
        raise DecodeError(f"a record of {len(record)} bytes came from the kernel, {FIXED} are the least")
    raw = wire.Sighting.from_buffer_copy(record)
    if raw.kind not in {kind.value for kind in Kind}:
        raise DecodeError(f"a record of the unknown kind {raw.kind} came from the kernel")
    levels = tuple(_levels(raw.memcg))
    memcg_path, unified_path, trigger_path = _paths(raw.paths, record[FIXED:])
    return Sighting(
        kind=Kind(raw.kind),
        ktime=raw.ktime,
        victim=_victim(raw.victim),
        trigger=_task(raw.trigger),
        decision=_decision(raw.decision),
        memcg_version=_known(raw.memcg_version),
        memcg=levels,
        memcg_path=memcg_path if levels else None,
        unified_id=_known(raw.unified_id),
        unified_path=unified_path if _known(raw.unified_id) is not None else None,
        trigger_memcg_ids=tuple(id_ for id_ in raw.trigger_memcg_ids if _known(id_) is not None),
        trigger_memcg_path=trigger_path if _known(raw.trigger_memcg_ids[0]) is not None else None,
        stack=tuple(address & 0xFFFFFFFFFFFFFFFF for address in raw.stack if address),
    )


def text(raw: bytes) -> str:
    """Turn a kernel string, which may hold any bytes, into text that loses nothing."""
    return raw.decode("utf-8", "backslashreplace")


def _known(value: int) -> int | None:
    return None if value == wire.UNKNOWN else value


def _task(raw: wire.Task) -> Task:
    return Task(_known(raw.pid), _known(raw.tid), _known(raw.vpid), text(raw.comm) or None)


def _rss(raw: Iterable[int]) -> Rss:
    # A per-CPU counter read without the CPUs' parts can fall below zero; the kernel takes that for zero, too.
    return Rss(*(None if _known(pages) is None else max(pages, 0) for pages in raw))


def _victim(raw: wire.Victim) -> Victim:
    return Victim(
        task=_task(raw.task),
        parent=_task(raw.parent),
        uid=_known(raw.uid),
        start_boottime=_known(raw.start_boottime),
        oom_score_adj=_known(raw.oom_score_adj),
        threads=_known(raw.threads),
        rss=_rss(raw.rss),
        rss_sum=_rss(raw.rss_sum),
        pgtables_bytes=_known(raw.pgtables_bytes),
        total_vm=_known(raw.total_vm),
        hiwater_rss=_known(raw.hiwater_rss),
        pid_ns=_known(raw.pid_ns),
        net_ns=_known(raw.net_ns),
        hostname=text(raw.nodename) or None,
    )


def _levels(raw: Iterable[wire.MemcgLevel]) -> Iterable[MemcgLevel]:
    for level in raw:
        if _known(level.id) is None:
            return
        yield MemcgLevel(*(_known(getattr(level, one.name)) for one in fields(MemcgLevel)))  # type: ignore[arg-type]


def _decision(raw: wire.Decision) -> Decision | None:
    if _known(raw.ktime) is None:
        return None
    return Decision(
        ktime=raw.ktime,
        constraint=_known(raw.constraint),
        gfp_mask=_known(raw.gfp_mask),
        order=_known(raw.order),
        totalpages=_known(raw.totalpages),
        chosen_points=_known(raw.chosen_points),
        chosen_pid=_known(raw.chosen_pid),
        memcg_id=_known(raw.memcg_id),
        message=text(raw.message) or None,
    )


def _paths(lengths: wire.Paths, strings: bytes) -> list[tuple[str, ...]]:
    paths, at = [], 0
    for length in (lengths.memcg, lengths.unified, lengths.trigger_memcg):
        if not 0 <= length <= len(strings) - at:
            raise DecodeError("a record from the kernel ends within a path")
        names = strings[at : at + length].split(b"\0")[:-1]
        paths.append(tuple(text(name) for name in names))
        at += length
    return paths
