# SPDX-License-Identifier: Apache-2.0
"""From the bytes of the perf buffer to a Sighting. Pure."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from dataclasses import fields
from typing import TypeVar

from ooMtrace.errors import DecodeError
from ooMtrace.probe import wire
from ooMtrace.sighting import Candidate, Decision, Kind, MemcgLevel, Ranking, Rss, Sighting, Task, Victim

Form = TypeVar("Form", wire.Sighting, wire.Ranking)
FIXED = ctypes.sizeof(wire.Sighting)
FIXED_RANKING = ctypes.sizeof(wire.Ranking)


def decode(record: bytes) -> Sighting | Ranking:
    """Decode one record.

    Raises:
        DecodeError: The record is too short, or its parts do not fit together.
    """
    kind = int.from_bytes(record[:8], sys.byteorder, signed=True)
    if kind == wire.KIND_RANKING:
        return _ranking(_fixed(wire.Ranking, record), record[FIXED_RANKING:])
    if kind not in {kind.value for kind in Kind}:
        raise DecodeError(f"a record of the unknown kind {kind} came from the kernel")
    return _sighting(_fixed(wire.Sighting, record), record[FIXED:])


def _fixed(form: type[Form], record: bytes) -> Form:
    if len(record) < ctypes.sizeof(form):
        raise DecodeError(f"a record of {len(record)} bytes came from the kernel, {ctypes.sizeof(form)} are the least")
    return form.from_buffer_copy(record)


def _sighting(raw: wire.Sighting, strings: bytes) -> Sighting:
    levels = tuple(_levels(raw.memcg))
    lengths = (raw.paths.memcg, raw.paths.unified, raw.paths.trigger_memcg)
    memcg_path, unified_path, trigger_path = _paths(lengths, strings)
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


def _ranking(raw: wire.Ranking, strings: bytes) -> Ranking:
    if not 0 <= raw.told <= wire.BEST:
        raise DecodeError(f"a record from the kernel tells of {raw.told} candidates")
    best = list(zip(raw.best[: raw.told], _paths([one.path for one in raw.best[: raw.told]], strings), strict=True))
    # As select_bad_process() does: the highest points, and of equals the last one weighed.
    best.sort(key=lambda pair: (pair[0].points, pair[0].order), reverse=True)
    candidates = (
        Candidate(_known(one.pid), one.points, _known(one.oom_score_adj), text(one.comm) or None, path)
        for one, path in best
    )
    return Ranking(ktime=raw.ktime, weighed=raw.weighed, best=tuple(candidates))


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


def _paths(lengths: Iterable[int], strings: bytes) -> list[tuple[str, ...] | None]:
    paths: list[tuple[str, ...] | None] = []
    at = 0
    for length in lengths:
        if _known(length) is None:
            paths.append(None)
            continue
        if not 0 <= length <= len(strings) - at:
            raise DecodeError("a record from the kernel ends within a path")
        names = strings[at : at + length].split(b"\0")[:-1]
        paths.append(tuple(text(name) for name in names))
        at += length
    return paths
