# SPDX-License-Identifier: Apache-2.0
"""From the bytes of the perf buffer to a VictimEvent. Pure."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from dataclasses import fields
from typing import TypeVar

from ooMtrace.errors import DecodeError
from ooMtrace.events import (
    Candidate,
    Context,
    Decision,
    Descriptors,
    Exit,
    Kind,
    MemcgLevel,
    ProbeEvent,
    Ranking,
    RepeatKill,
    Rss,
    Socket,
    Task,
    Victim,
    VictimEvent,
)
from ooMtrace.probe import wire

Form = TypeVar("Form", wire.VictimEvent, wire.Ranking, wire.Context, wire.Exit, wire.Again)
FIXED = ctypes.sizeof(wire.VictimEvent)
FIXED_RANKING = ctypes.sizeof(wire.Ranking)
FIXED_CONTEXT = ctypes.sizeof(wire.Context)


def decode(record: bytes) -> ProbeEvent:
    """Decode one record.

    Raises:
        DecodeError: The record is too short, or its parts do not fit together.
    """
    kind = int.from_bytes(record[:8], sys.byteorder, signed=True)
    if kind == wire.KIND_RANKING:
        return _ranking(_fixed(wire.Ranking, record), record[FIXED_RANKING:])
    if kind == wire.KIND_CONTEXT:
        return _context(_fixed(wire.Context, record), record[FIXED_CONTEXT:])
    if kind == wire.KIND_EXIT:
        gone = _fixed(wire.Exit, record)
        return Exit(gone.pid, gone.ktime, gone.signalled_at, _known(gone.maxrss))
    if kind == wire.KIND_AGAIN:
        again = _fixed(wire.Again, record)
        return RepeatKill(again.ktime, _known(again.tid), again.counted)
    if kind not in {kind.value for kind in Kind}:
        raise DecodeError(f"a record of the unknown kind {kind} came from the kernel")
    return _sighting(_fixed(wire.VictimEvent, record), record[FIXED:])


def _fixed(form: type[Form], record: bytes) -> Form:
    if len(record) < ctypes.sizeof(form):
        raise DecodeError(f"a record of {len(record)} bytes came from the kernel, {ctypes.sizeof(form)} are the least")
    return form.from_buffer_copy(record)


def _sighting(raw: wire.VictimEvent, strings: bytes) -> VictimEvent:
    levels = tuple(_levels(raw.memcg))
    lengths = (raw.paths.memcg, raw.paths.unified, raw.paths.trigger_memcg)
    memcg_path, unified_path, trigger_path = _paths(lengths, strings)
    return VictimEvent(
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
        signalled_at=_known(raw.signalled_at),
        exec_args=_exec_args(raw),
        ordinal=_known(raw.counted),
    )


def _exec_args(raw: wire.VictimEvent) -> tuple[bytes, int] | None:
    if _known(raw.exec_size) is None:
        return None
    # ctypes would end a character array at its first zero.
    whole = ctypes.string_at(ctypes.addressof(raw) + wire.VictimEvent.exec_args.offset, wire.VictimEvent.exec_args.size)
    return whole[: raw.exec_size], raw.exec_size


def _context(raw: wire.Context, strings: bytes) -> Context:
    if not 0 <= raw.sockets <= len(raw.socket):
        raise DecodeError(f"a record from the kernel tells of {raw.sockets} sockets")
    sockets = raw.socket[: raw.sockets]
    ends = [length for one in sockets for length in (one.local, one.remote)]
    lengths = [raw.executable, raw.working_directory, *ends, raw.arguments, raw.environment]
    executable, directory, *addresses, arguments, environment = _pieces(lengths, strings)
    return Context(
        pid=raw.pid,
        ktime=raw.ktime,
        signalled_at=raw.signalled_at,
        arguments=arguments,
        arguments_size=_known(raw.arguments_size),
        arguments_end=_known(raw.arguments_end),
        environment=environment,
        environment_size=_known(raw.environment_size),
        working_directory=_names(directory),
        executable=_names(executable),
        descriptors=_descriptors(raw, sockets, addresses) if _known(raw.walked) is not None else None,
    )


def _descriptors(raw: wire.Context, sockets: list[wire.Socket], addresses: list[bytes | None]) -> Descriptors:
    return Descriptors(
        kinds=tuple(raw.kinds),
        tcp=raw.tcp,
        udp=raw.udp,
        unix=raw.unix_domain,
        all=raw.walked >= raw.slots,
        sockets=tuple(
            Socket(
                fd=one.fd,
                family=one.family,
                protocol=_known(one.protocol),
                state=_known(one.state),
                local=addresses[2 * i],
                remote=addresses[2 * i + 1],
                local_port=_known(one.local_port),
                remote_port=_known(one.remote_port),
            )
            for i, one in enumerate(sockets)
        ),
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
    return [_names(piece) for piece in _pieces(lengths, strings)]


def _names(piece: bytes | None) -> tuple[str, ...] | None:
    return None if piece is None else tuple(text(name) for name in piece.split(b"\0")[:-1])


def _pieces(lengths: Iterable[int], strings: bytes) -> list[bytes | None]:
    """Cut into pieces what lies in a record one after the other; None where a length is not known."""
    pieces: list[bytes | None] = []
    at = 0
    for length in lengths:
        if _known(length) is None:
            pieces.append(None)
            continue
        if not 0 <= length <= len(strings) - at:
            raise DecodeError("a record from the kernel ends too early")
        pieces.append(strings[at : at + length])
        at += length
    return pieces
