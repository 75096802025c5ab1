# SPDX-License-Identifier: Apache-2.0
"""From one judged death to its record. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ooMtrace import record
from ooMtrace.assemble.attribution import UNLIMITED, Attribution
from ooMtrace.assemble.gfp_flags import gfp_flags
from ooMtrace.assemble.victim_context import VictimContext, join_path, victim_context
from ooMtrace.events import Candidate, Context, Exit, MemcgLevel, Ranking, VictimEvent
from ooMtrace.kernel.snapshot import HostSnapshot
from ooMtrace.record.message import describe_kill, describe_process
from ooMtrace.settings import Level

ALREADY_DYING = "was already dying when memory ran out; the OOM killer did not kill it"


@dataclass(frozen=True, slots=True)
class LineContext:
    """What a line says beyond its own sighting.

    Attributes:
        incident: Id of the OOM.
        verdict: As in record.Oom, or `dying`.
        killed: How many processes the kernel has killed in this OOM.
        ranking: What it weighed, if this is the process it chose.
        context: What the victim was doing.
        environment: Names of the environment variables that may be told.
    """

    incident: str
    verdict: str
    killed: int
    ranking: Ranking | None = None
    context: Context | None = None
    environment: tuple[str, ...] = ()


def to_record(
    seen: VictimEvent, judgement: Attribution, case: LineContext, now: HostSnapshot, host: record.Host, fidelity: Level
) -> record.OomKill:
    """Write down a kill."""
    dying = case.verdict == "dying"
    oom = _oom(seen, judgement, case, now)
    had = victim_context(seen, case.context, case.environment)
    process = _process(seen, judgement, had, now)
    return record.OomKill(
        event="oom_dying" if dying else "oom_kill",
        severity="INFO" if dying else "ERROR",
        id=_id(seen, host),
        time=now.from_monotonic(seen.ktime),
        observed=now.from_monotonic(now.monotonic),
        message=f"{describe_process(process)} {ALREADY_DYING}" if dying else describe_kill(process, oom),
        fidelity=fidelity,
        derived=judgement.derived + had.derived,
        truncated=had.truncated or None,
        host=host,
        oom=oom,
        process=process,
        namespace=_namespace(seen),
        cgroup=_cgroup(seen),
    )


def to_exit_record(kill: record.OomKill, gone: Exit, now: HostSnapshot) -> record.OomKill:
    """Write down the end of a victim, whose kill was told before."""
    after = (gone.ktime - gone.signalled_at) // 1000
    return replace(
        kill,
        event="oom_exit",
        severity="INFO",
        id=f"{kill.id}-exit",
        time=now.from_monotonic(gone.ktime),
        observed=now.from_monotonic(now.monotonic),
        message=f"{describe_process(kill.process)} is gone, {after / 1000:.1f} ms after the OOM killer's signal",
        exit=record.Exit(
            kill=kill.id,
            after_us=after,
            peak_rss=None if gone.maxrss is None else gone.maxrss * now.page_size,
        ),
    )


def incident_id(host: record.Host, ktime: int) -> str:
    """Name an instant of one boot; no two OOMs share a nanosecond, for the kernel runs one at a time."""
    return f"{(host.boot_id or host.name or 'host')[:8]}-{ktime:x}"


def _id(seen: VictimEvent, host: record.Host) -> str:
    """Name a kill by what the kernel log says of it, too: its number of this boot and the thread that was marked."""
    if seen.ordinal is not None:
        return record.kill_id(host, seen.ordinal, seen.victim.task.tid)
    return f"{incident_id(host, seen.ktime)}-{seen.victim.task.pid or seen.victim.task.tid}"


def _text(number: int | None) -> str | None:
    """Turn a 64-bit id into text: JSON readers that know only doubles would change it."""
    return None if number is None else str(number)


def _oom(seen: VictimEvent, judgement: Attribution, case: LineContext, now: HostSnapshot) -> record.Oom:
    decision, domain, ranking = seen.decision, judgement.level, case.ranking
    gfp = decision.gfp_mask if decision else None
    return record.Oom(
        incident=case.incident,
        number=seen.ordinal,
        verdict=None if case.verdict == "dying" else case.verdict,  # type: ignore[arg-type]
        scope=judgement.scope,
        constraint=judgement.constraint,
        gfp_mask=None if gfp is None else record.GfpMask(raw=hex(gfp), flags=gfp_flags(gfp)),
        order=decision.order if decision else None,
        points=judgement.points,
        limit_bytes=None if judgement.limit is None else judgement.limit * now.page_size,
        trigger=record.Trigger(
            pid=seen.trigger.pid,
            tid=seen.trigger.tid,
            comm=seen.trigger.comm,
            cgroup=join_path(seen.trigger_memcg_path),
        ),
        memcg=None if domain is None else _memcg(seen, domain, now),
        group=_group(seen, domain, case.killed),
        weighed=ranking.weighed if ranking else None,
        candidates=_candidates(ranking, judgement.limit, now) if ranking else None,
    )


def _candidates(ranking: Ranking, limit: int | None, now: HostSnapshot) -> tuple[record.Candidate, ...]:
    def memory(one: Candidate) -> int | None:
        if one.oom_score_adj is None or (one.oom_score_adj and limit is None):
            return None
        return (one.points - one.oom_score_adj * ((limit or 0) // 1000)) * now.page_size

    return tuple(
        record.Candidate(
            pid=one.pid,
            comm=one.comm,
            points=one.points,
            oom_score_adj=one.oom_score_adj,
            memory=memory(one),
            cgroup=join_path(one.memcg_path),
        )
        for one in ranking.best
    )


def _memcg(seen: VictimEvent, index: int, now: HostSnapshot) -> record.Memcg:
    level, version = seen.memcg[index], seen.memcg_version

    def size(pages: int | None) -> int | None:
        return None if pages is None or pages >= UNLIMITED else pages * now.page_size

    swap, swap_limit = size(level.swap_usage), size(level.swap_max)
    if version == 1:  # there the counter is memory and swap together
        swap, swap_limit = _less(swap, size(level.usage)), _less(swap_limit, size(level.max))
    return record.Memcg(
        path=join_path(seen.memcg_path[index:]) if seen.memcg_path is not None else None,
        id=str(level.id),
        version=version,
        usage=size(level.usage),
        limit=size(level.max),
        high=size(level.high),
        peak=size(level.watermark),
        swap=swap,
        swap_limit=swap_limit,
        events=_events(level),
    )


def _less(whole: int | None, part: int | None) -> int | None:
    """Subtract; None if the whole is the smaller, for then nobody counts it (swapaccount=0)."""
    return None if whole is None or part is None or whole < part else whole - part


def _events(level: MemcgLevel) -> record.MemcgEvents:
    return record.MemcgEvents(
        high=level.events_high,
        max=level.events_max,
        oom=level.events_oom,
        oom_kill=level.events_oom_kill,
        oom_group_kill=level.events_oom_group_kill,
    )


def _group(seen: VictimEvent, domain: int | None, killed: int) -> record.Group | None:
    """mem_cgroup_get_oom_group(): the highest memory.oom.group below or at the domain; only version 2 honours it."""
    if seen.memcg_version != 2 or seen.memcg_path is None:  # noqa: PLR2004
        return None
    top = len(seen.memcg) - 2 if domain is None else domain  # the root has no such file
    chosen = [i for i, level in enumerate(seen.memcg[: top + 1]) if level.oom_group]
    return record.Group(path=join_path(seen.memcg_path[chosen[-1] :]), size=killed) if chosen else None


def _process(seen: VictimEvent, judgement: Attribution, had: VictimContext, now: HostSnapshot) -> record.Process:
    victim, parent = seen.victim, seen.victim.parent
    started = victim.start_boottime
    return record.Process(
        pid=victim.task.pid,
        tid=victim.task.tid,
        vpid=victim.task.vpid,
        comm=victim.task.comm,
        parent=record.Parent(pid=parent.pid, vpid=parent.vpid, comm=parent.comm),
        user=record.User(id=victim.uid),
        creation=record.Creation(time=None if started is None else now.from_boottime(started)),
        threads=victim.threads,
        oom_score_adj=victim.oom_score_adj,
        memory=_memory(seen, judgement, now),
        title=had.cmdline.title,
        command_args=had.cmdline.args,
        executable=had.executable,
        working_directory=had.working_directory,
        open_files=had.open_files,
        connections=had.connections,
        environment=had.environment,
    )


def _memory(seen: VictimEvent, judgement: Attribution, now: HostSnapshot) -> record.Memory:
    victim, rss = seen.victim, judgement.rss

    def size(pages: int | None) -> int | None:
        return None if pages is None else pages * now.page_size

    # The kernel notes the peak only when memory is given back (update_hiwater_rss()), so it may lag behind.
    peak = None if victim.hiwater_rss is None else max(victim.hiwater_rss, judgement.points.rss or 0)
    return record.Memory(
        anon=size(rss.anon),
        file=size(rss.file),
        shmem=size(rss.shmem),
        swap=size(rss.swap),
        page_tables=victim.pgtables_bytes,
        total_vm=size(victim.total_vm),
        peak_rss=size(peak),
    )


def _namespace(seen: VictimEvent) -> record.Namespace:
    victim = seen.victim
    return record.Namespace(hostname=victim.hostname, pid_ns=_text(victim.pid_ns), net_ns=_text(victim.net_ns))


def _cgroup(seen: VictimEvent) -> record.Cgroup | None:
    if not seen.memcg:
        return None
    v2 = record.UnifiedCgroup(path=join_path(seen.unified_path), id=_text(seen.unified_id))
    same = v2.path is None or v2.id == str(seen.memcg[0].id)
    return record.Cgroup(
        path=join_path(seen.memcg_path),
        id=str(seen.memcg[0].id),
        version=seen.memcg_version,
        v2=None if same else v2,
    )
