# SPDX-License-Identifier: Apache-2.0
"""Decode the records of the perf buffer into probe events (events.py). Pure."""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Iterable, Iterator
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
    Sigkill,
    Socket,
    Task,
    Victim,
    VictimEvent,
)
from ooMtrace.kernel.cgroup_change import CgroupChange
from ooMtrace.probe import wire

LEVEL_SIZE = ctypes.sizeof(wire.MemcgLevel)
ID = struct.Struct("=q")
ID_SIZE = ID.size

Structure = TypeVar(
    "Structure",
    wire.VictimEvent,
    wire.Ranking,
    wire.Context,
    wire.Exit,
    wire.RepeatKill,
    wire.CgroupChange,
    wire.Sigkill,
)


def decode(data: bytes) -> ProbeEvent:
    """Decode one perf record: a structure of bpf/events.h, without the unused end of its strings.

    The perf buffer pads a record: bytes after the last string are ignored.

    Raises:
        DecodeError: The record is too short, of an unknown kind, or its lengths are inconsistent.
    """
    kind = int.from_bytes(data[:8], sys.byteorder, signed=True)
    if kind == wire.KIND_RANKING:
        return _ranking(*_split(wire.Ranking, data))
    if kind == wire.KIND_CONTEXT:
        return _context(*_split(wire.Context, data))
    if kind == wire.KIND_EXIT:
        exit_, _ = _split(wire.Exit, data)
        return Exit(exit_.pid, exit_.ktime, exit_.signalled_at, _known(exit_.maxrss))
    if kind == wire.KIND_REPEAT_KILL:
        repeat_kill, _ = _split(wire.RepeatKill, data)
        return RepeatKill(repeat_kill.ktime, _known(repeat_kill.tid), repeat_kill.ordinal)
    if kind not in {kind.value for kind in Kind}:
        raise DecodeError(f"probe event of unknown kind {kind}")
    return _victim_event(*_split(wire.VictimEvent, data))


def decode_cgroup_change(data: bytes) -> CgroupChange:
    """Decode a perf record of the buffer `cgroup_changes`: a `struct cgroup_change` without the unused end of its path.

    Raises:
        DecodeError: The record is too short, or of an unknown kind.
    """
    raw, path = _split(wire.CgroupChange, data)
    if raw.change not in (wire.CGROUP_MADE, wire.CGROUP_REMOVED) or not 0 < raw.size <= len(path):
        raise DecodeError(f"cgroup change of unknown kind {raw.change} or size {raw.size}")
    return CgroupChange(raw.ktime, text(path[: raw.size]), raw.change == wire.CGROUP_REMOVED)


def decode_sigkill(data: bytes) -> Sigkill:
    """Decode one perf record of the buffer for SIGKILLs from user space.

    Raises:
        DecodeError: As `decode`.
    """
    if int.from_bytes(data[:8], sys.byteorder, signed=True) != wire.KIND_SIGKILL:
        raise DecodeError("perf record that is not about a SIGKILL")
    raw, strings = _split(wire.Sigkill, data)
    lengths = (raw.memcg_path, raw.unified_path, raw.sender_memcg_path, raw.sender_unified_path)
    memcg_path, unified_path, sender_memcg_path, sender_unified_path = _paths(lengths, strings)
    return Sigkill(
        ktime=raw.ktime,
        cgroup_kill=_known(raw.cgroup_kill) == 1,
        sender=_task(raw.sender),
        sender_uid=_known(raw.sender_uid),
        victim=_victim(raw.victim),
        memcg_version=_known(raw.memcg_version),
        memcg_id=_known(raw.memcg_id),
        memcg_path=memcg_path if _known(raw.memcg_id) is not None else None,
        unified_id=_known(raw.unified_id),
        unified_path=unified_path if _known(raw.unified_id) is not None else None,
        sender_memcg_path=sender_memcg_path,
        sender_unified_path=sender_unified_path,
        exec_args=_exec_args(raw),
    )


def _split(structure: type[Structure], data: bytes) -> tuple[Structure, bytes]:
    """Return the structure that the record begins with, and the strings after it."""
    size = ctypes.sizeof(structure)
    if len(data) < size:
        raise DecodeError(f"probe event of {len(data)} bytes: at least {size} expected")
    return structure.from_buffer_copy(data), data[size:]


def _victim_event(raw: wire.VictimEvent, strings: bytes) -> VictimEvent:
    held = raw.contents
    sizes = (held.levels * LEVEL_SIZE, held.trigger_ids * ID_SIZE)
    *paths, levels, ids = _cut((held.memcg_path, held.unified_path, held.trigger_path, *sizes), strings)
    memcg_path, unified_path, trigger_path = map(_names, paths)
    memcg = tuple(_levels(levels or b""))
    trigger_ids = tuple(id_ for (id_,) in ID.iter_unpack(ids or b"") if _known(id_) is not None)
    return VictimEvent(
        kind=Kind(raw.kind),
        ktime=raw.ktime,
        victim=_victim(raw.victim),
        trigger=_task(raw.trigger),
        decision=_decision(raw.decision),
        memcg_version=_known(raw.memcg_version),
        memcg=memcg,
        memcg_path=memcg_path if memcg else None,
        unified_id=_known(raw.unified_id),
        unified_path=unified_path if _known(raw.unified_id) is not None else None,
        trigger_memcg_ids=trigger_ids,
        trigger_memcg_path=trigger_path if trigger_ids else None,
        stack=tuple(address & 0xFFFFFFFFFFFFFFFF for address in raw.stack if address),
        signalled_at=_known(raw.signalled_at),
        exec_args=_exec_args(raw),
        ordinal=_known(raw.ordinal),
    )


def _exec_args(raw: wire.VictimEvent | wire.Sigkill) -> tuple[bytes, int] | None:
    if _known(raw.exec_size) is None:
        return None
    # Reading the field would end at the first NUL, as ctypes does with character arrays.
    arguments = ctypes.string_at(ctypes.addressof(raw) + type(raw).exec_args.offset, wire.EXEC_LEN)
    return arguments[: raw.exec_size], raw.exec_size


def _context(raw: wire.Context, strings: bytes) -> Context:
    if not 0 <= raw.sockets <= len(raw.socket):
        raise DecodeError(f"probe event with {raw.sockets} sockets: at most {len(raw.socket)} expected")
    sockets = raw.socket[: raw.sockets]
    address_lengths = [length for socket in sockets for length in (socket.local, socket.remote)]
    lengths = [raw.executable, raw.working_directory, *address_lengths, raw.arguments, raw.environment]
    executable, directory, *addresses, arguments, environment = _cut(lengths, strings)
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
    pairs = zip(addresses[::2], addresses[1::2], strict=True)
    return Descriptors(
        kinds=tuple(raw.file_types),
        tcp=raw.tcp,
        udp=raw.udp,
        unix=raw.unix_domain,
        all=raw.walked >= raw.slots,
        sockets=tuple(_socket(socket, *pair) for socket, pair in zip(sockets, pairs, strict=True)),
    )


def _socket(raw: wire.Socket, local: bytes | None, remote: bytes | None) -> Socket:
    return Socket(
        fd=raw.fd,
        family=raw.family,
        protocol=_known(raw.protocol),
        state=_known(raw.state),
        local=local,
        remote=remote,
        local_port=_known(raw.local_port),
        remote_port=_known(raw.remote_port),
    )


def _ranking(raw: wire.Ranking, strings: bytes) -> Ranking:
    if not 0 <= raw.count <= wire.MAX_CANDIDATES:
        raise DecodeError(f"probe event with {raw.count} candidates: at most {wire.MAX_CANDIDATES} expected")
    candidates = raw.best[: raw.count]
    paths = _paths([candidate.path for candidate in candidates], strings)
    # As select_bad_process() does: the highest points first, and of equal points the last one weighed.
    ranked = sorted(zip(candidates, paths, strict=True), key=lambda pair: (pair[0].points, pair[0].order), reverse=True)
    return Ranking(raw.ktime, raw.weighed, tuple(_candidate(candidate, path) for candidate, path in ranked))


def _candidate(raw: wire.Candidate, path: tuple[str, ...] | None) -> Candidate:
    return Candidate(_known(raw.pid), raw.points, _known(raw.oom_score_adj), text(raw.comm) or None, path)


def text(raw: bytes) -> str:
    """Decode a kernel string, which may hold any bytes, without loss: invalid UTF-8 is escaped with backslashes."""
    return raw.decode("utf-8", "backslashreplace")


def _known(value: int) -> int | None:
    return None if value == wire.UNKNOWN else value


def _task(raw: wire.Task) -> Task:
    return Task(_known(raw.pid), _known(raw.tid), _known(raw.vpid), text(raw.comm) or None)


def _rss(raw: Iterable[int]) -> Rss:
    # A per-CPU counter without the CPUs' deltas can be negative; the kernel treats that as zero, too.
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


def _levels(raw: bytes) -> Iterator[MemcgLevel]:
    for start in range(0, len(raw), LEVEL_SIZE):
        level = wire.MemcgLevel.from_buffer_copy(raw, start)
        if _known(level.id) is None:
            return
        yield MemcgLevel(*(_known(getattr(level, field.name)) for field in fields(MemcgLevel)))  # type: ignore[arg-type]


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
    return [_names(part) for part in _cut(lengths, strings)]


def _names(part: bytes | None) -> tuple[str, ...] | None:
    return None if part is None else tuple(text(name) for name in part.split(b"\0")[:-1])


def _cut(lengths: Iterable[int], strings: bytes) -> list[bytes | None]:
    """Cut `strings` into consecutive parts of these lengths; None for an unknown length."""
    parts: list[bytes | None] = []
    start = 0
    for length in lengths:
        if _known(length) is None:
            parts.append(None)
            continue
        if not 0 <= length <= len(strings) - start:
            raise DecodeError("probe event with strings that exceed its size")
        parts.append(strings[start : start + length])
        start += length
    return parts
