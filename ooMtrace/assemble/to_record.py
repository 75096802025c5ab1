# SPDX-License-Identifier: Apache-2.0
"""Converts a victim's event, attribution and context to its record. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ooMtrace import record
from ooMtrace.assemble.attribution import UNLIMITED, Attribution
from ooMtrace.assemble.gfp_flags import gfp_flags
from ooMtrace.assemble.victim_context import VictimContext, join_path, victim_context
from ooMtrace.assemble.victim_facts import cgroup_of, memory_of, namespace_of, process_of
from ooMtrace.events import Candidate, Context, Exit, MemcgLevel, Ranking, VictimEvent
from ooMtrace.kernel.snapshot import HostSnapshot
from ooMtrace.record.message import ALREADY_DYING, describe_exit, describe_kill, describe_process
from ooMtrace.settings import Level

LineVerdict = record.Verdict | Literal["dying"]
"""A verdict, or `dying`: the OOM killer marked the process, but did not kill it."""


@dataclass(frozen=True, slots=True)
class LineContext:
    """What a line states beyond its own event.

    Attributes:
        incident: Id of the incident.
        killed: Number of processes that the kernel has killed in this incident.
        ranking: The kernel's candidates, if this is the process it chose.
        context: What the victim was doing.
        env: Names of the environment variables that may be included; globs allowed.
    """

    incident: str
    verdict: LineVerdict
    killed: int
    ranking: Ranking | None = None
    context: Context | None = None
    env: tuple[str, ...] = ()


def to_record(
    event: VictimEvent,
    attribution: Attribution,
    line: LineContext,
    snapshot: HostSnapshot,
    host: record.Host,
    fidelity: Level,
) -> record.OomKill:
    """Return the record of a kill; `snapshot` is the host when the event was read."""
    dying = line.verdict == "dying"
    oom = _oom(event, attribution, line, snapshot)
    context = victim_context(event, line.context, line.env)
    process = _process(event, attribution, context, snapshot)
    return record.OomKill(
        event="oom_dying" if dying else "oom_kill",
        severity="INFO" if dying else "ERROR",
        id=_id(event, host),
        time=snapshot.from_monotonic(event.ktime),
        observed=snapshot.from_monotonic(snapshot.monotonic),
        message=f"{describe_process(process)} {ALREADY_DYING}" if dying else describe_kill(process, oom),
        fidelity=fidelity,
        derived=attribution.derived + context.derived,
        truncated=context.truncated or None,
        host=host,
        oom=oom,
        process=process,
        namespace=namespace_of(event.victim),
        cgroup=_cgroup(event),
    )


def to_exit_record(kill: record.OomKill, exit_: Exit, snapshot: HostSnapshot) -> record.OomKill:
    """Return the record of an exit: that of its kill, updated; `snapshot` is the host when the exit was read."""
    after_us = (exit_.ktime - exit_.signalled_at) // 1000
    return replace(
        kill,
        event="oom_exit",
        severity="INFO",
        id=f"{kill.id}-exit",
        time=snapshot.from_monotonic(exit_.ktime),
        observed=snapshot.from_monotonic(snapshot.monotonic),
        message=describe_exit(kill.process, after_us),
        exit=record.Exit(
            kill=kill.id,
            after_us=after_us,
            peak_rss=None if exit_.maxrss is None else exit_.maxrss * snapshot.page_size,
        ),
    )


def incident_id(host: record.Host, ktime: int) -> str:
    """Return an id for a CLOCK_MONOTONIC time (ns) of this boot; unique, as OOM killer runs never overlap."""
    return f"{(host.boot_id or host.name or 'host')[:8]}-{ktime:x}"


def _id(event: VictimEvent, host: record.Host) -> str:
    """Identify a kill by what the kernel log also shows: its ordinal since boot and the marked thread."""
    if event.ordinal is not None:
        return record.kill_id(host, event.ordinal, event.victim.task.tid)
    return f"{incident_id(host, event.ktime)}-{event.victim.task.pid or event.victim.task.tid}"


def _oom(event: VictimEvent, attribution: Attribution, line: LineContext, snapshot: HostSnapshot) -> record.Oom:
    decision, memcg_index, ranking = event.decision, attribution.memcg_index, line.ranking
    gfp = decision.gfp_mask if decision else None
    return record.Oom(
        incident=line.incident,
        number=event.ordinal,
        verdict=None if line.verdict == "dying" else line.verdict,
        scope=attribution.scope,
        constraint=attribution.constraint,
        gfp_mask=None if gfp is None else record.GfpMask(raw=hex(gfp), flags=gfp_flags(gfp)),
        order=decision.order if decision else None,
        points=attribution.points,
        limit_bytes=None if attribution.limit is None else attribution.limit * snapshot.page_size,
        trigger=record.Trigger(
            pid=event.trigger.pid,
            tid=event.trigger.tid,
            comm=event.trigger.comm,
            cgroup=join_path(event.trigger_memcg_path),
        ),
        memcg=None if memcg_index is None else _memcg(event, memcg_index, snapshot),
        group=_group(event, memcg_index, line.killed),
        weighed=ranking.weighed if ranking else None,
        candidates=_candidates(ranking, attribution.limit, snapshot) if ranking else None,
    )


def _candidates(ranking: Ranking, limit: int | None, snapshot: HostSnapshot) -> tuple[record.Candidate, ...]:
    return tuple(
        record.Candidate(
            pid=candidate.pid,
            comm=candidate.comm,
            points=candidate.points,
            oom_score_adj=candidate.oom_score_adj,
            memory=_candidate_memory(candidate, limit, snapshot),
            cgroup=join_path(candidate.memcg_path),
        )
        for candidate in ranking.best
    )


def _candidate_memory(candidate: Candidate, limit: int | None, snapshot: HostSnapshot) -> int | None:
    """Return the points without the part that oom_score_adj adds, in bytes; None if that part is not known."""
    adj = candidate.oom_score_adj
    if adj is None or (adj and limit is None):
        return None
    return (candidate.points - adj * ((limit or 0) // 1000)) * snapshot.page_size


def _memcg(event: VictimEvent, index: int, snapshot: HostSnapshot) -> record.Memcg:
    memcg, version = event.memcg[index], event.memcg_version

    def size(pages: int | None) -> int | None:
        return None if pages is None or pages >= UNLIMITED else pages * snapshot.page_size

    swap, swap_limit = size(memcg.swap_usage), size(memcg.swap_max)
    if version == 1:  # its counter is memory plus swap (memsw)
        swap, swap_limit = _difference(swap, size(memcg.usage)), _difference(swap_limit, size(memcg.max))
    return record.Memcg(
        path=join_path(event.memcg_path[index:]) if event.memcg_path is not None else None,
        id=str(memcg.id),
        version=version,
        usage=size(memcg.usage),
        limit=size(memcg.max),
        high=size(memcg.high),
        peak=size(memcg.watermark),
        swap=swap,
        swap_limit=swap_limit,
        events=_events(memcg),
    )


def _difference(whole: int | None, part: int | None) -> int | None:
    """Subtract; None if the whole is smaller than the part: swap is not accounted (swapaccount=0)."""
    return None if whole is None or part is None or whole < part else whole - part


def _events(memcg: MemcgLevel) -> record.MemcgEvents:
    return record.MemcgEvents(
        high=memcg.events_high,
        max=memcg.events_max,
        oom=memcg.events_oom,
        oom_kill=memcg.events_oom_kill,
        oom_group_kill=memcg.events_oom_group_kill,
    )


def _group(event: VictimEvent, memcg_index: int | None, killed: int) -> record.Group | None:
    """Find the group as mem_cgroup_get_oom_group() does: the highest memory.oom.group in the OOM domain; v2 only."""
    if event.memcg_version != 2 or event.memcg_path is None:  # noqa: PLR2004
        return None
    top = len(event.memcg) - 2 if memcg_index is None else memcg_index  # the root has no such file
    groups = [i for i, memcg in enumerate(event.memcg[: top + 1]) if memcg.oom_group]
    return record.Group(path=join_path(event.memcg_path[groups[-1] :]), size=killed) if groups else None


def _process(
    event: VictimEvent, attribution: Attribution, context: VictimContext, snapshot: HostSnapshot
) -> record.Process:
    resident = attribution.points.rss or 0
    return process_of(
        event.victim,
        memory_of(event.victim, attribution.rss, resident, snapshot.page_size),
        snapshot,
        title=context.cmdline.title,
        command_args=context.cmdline.args,
        executable=context.executable,
        working_directory=context.working_directory,
        open_files=context.open_files,
        connections=context.connections,
        environment=context.environment,
    )


def _cgroup(event: VictimEvent) -> record.Cgroup | None:
    if not event.memcg:
        return None
    id_ = event.memcg[0].id
    return cgroup_of(id_, event.memcg_path, event.memcg_version, event.unified_id, event.unified_path)
