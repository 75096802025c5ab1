# SPDX-License-Identifier: Apache-2.0
"""Probe events, snapshots and records with round numbers; a test changes what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ooMtrace import record
from ooMtrace.events import (
    Candidate,
    Context,
    Decision,
    Descriptors,
    Exit,
    Kind,
    MemcgLevel,
    Ranking,
    Rss,
    Socket,
    Task,
    Victim,
    VictimEvent,
)
from ooMtrace.kernel.snapshot import HostSnapshot

NO_LIMIT = ((1 << 63) - 1) // 4096
"""PAGE_COUNTER_MAX, in pages."""

SYMBOLS = {
    "oom_kill_process": (0x1000, 0x1100),
    "oom_kill_memcg_member": (0x2000, 0x2100),
    "mem_cgroup_out_of_memory": (0x3000, 0x3100),
    "moom_callback": (0x4000, 0x4100),
}
KILL_STACK, MEMBER_STACK = (0x1050, 0x3050), (0x2050, 0x3050)
"""Call stacks of a kill in a memory cgroup: of the chosen process, and of a member of its group."""

BOOT_ID = "12345678-9abc-4def-8123-456789abcdef"
HOST = record.Host(name="host", boot_id=BOOT_ID, kernel="6.12.0")

NOW = HostSnapshot(
    realtime=1_700_000_000_000_000_000,
    monotonic=5_000_000_000,
    boottime=7_000_000_000,
    page_size=4096,
    ram=1_000_000,
    swap=0,
    swappiness=60,
    nodes=1,
)


def level(id_: int, usage: int | None = 100, limit: int | None = NO_LIMIT, **changes: Any) -> MemcgLevel:
    whole = MemcgLevel(
        id=id_,
        usage=usage,
        max=limit,
        high=NO_LIMIT,
        watermark=usage,
        swap_usage=0,
        swap_max=NO_LIMIT,
        swappiness=60,
        events_high=0,
        events_max=12,
        events_oom=1,
        events_oom_kill=1,
        events_oom_group_kill=0,
        oom_group=0,
    )
    return replace(whole, **changes)


def decision(**changes: Any) -> Decision:
    whole = Decision(
        ktime=4_000_000_000,
        constraint=3,
        gfp_mask=0xCC0,
        order=0,
        totalpages=8192,
        chosen_points=2260,
        chosen_pid=100,
        memcg_id=11,
        message="Memory cgroup out of memory",
    )
    return replace(whole, **changes)


def victim(pid: int | None = 100, **changes: Any) -> Victim:
    """2,000 anonymous, 200 file and 50 shared pages, and 10 of page tables: 2,260 points."""
    rss = Rss(file=200, anon=2000, swap=0, shmem=50)
    whole = Victim(
        task=Task(pid, pid, 7, "worker"),
        parent=Task(90, 90, 1, "boss"),
        uid=1000,
        start_boottime=6_000_000_000,
        oom_score_adj=0,
        threads=3,
        rss=rss,
        rss_sum=Rss(None, None, None, None),
        pgtables_bytes=40960,
        total_vm=5000,
        hiwater_rss=2300,
        pid_ns=4026531836,
        net_ns=4026531840,
        hostname="box",
    )
    return replace(whole, **changes)


def victim_event(pid: int | None = 100, kind: Kind = Kind.KILLED, **changes: Any) -> VictimEvent:
    """A worker in /job/worker, below /job with its limit; the trigger is thread 101 of the worker itself."""
    whole = VictimEvent(
        kind=kind,
        ktime=4_000_001_000,
        victim=victim(pid),
        trigger=Task(100, 101, 8, "worker-io"),
        decision=None,
        memcg_version=2,
        memcg=(level(12), level(11, usage=8190, limit=8192), level(1)),
        memcg_path=("worker", "job"),
        unified_id=12,
        unified_path=("worker", "job"),
        trigger_memcg_ids=(12, 11, 1),
        trigger_memcg_path=("worker", "job"),
        stack=KILL_STACK,
    )
    return replace(whole, **changes)


def candidate(pid: int | None = 100, points: int = 2260, **changes: Any) -> Candidate:
    whole = Candidate(pid=pid, points=points, oom_score_adj=0, comm="worker", memcg_path=("worker", "job"))
    return replace(whole, **changes)


def ranking(ktime: int, *best: Candidate, weighed: int = 2) -> Ranking:
    return Ranking(ktime=ktime, weighed=weighed, best=best or (candidate(),))


def tcp(**changes: Any) -> Socket:
    """A connection over IPv4 from 10.0.0.1:40000 to 10.0.0.2:6379."""
    whole = Socket(
        fd=3,
        family=2,
        protocol=6,
        state=1,
        local=bytes((10, 0, 0, 1)),
        remote=bytes((10, 0, 0, 2)),
        local_port=40000,
        remote_port=6379,
    )
    return replace(whole, **changes)


def unix(local: bytes | None, remote: bytes | None = None, state: int | None = 1) -> Socket:
    return Socket(fd=4, family=1, protocol=None, state=state, local=local, remote=remote)


def descriptors(kinds: Mapping[int, int] | None = None, **changes: Any) -> Descriptors:
    counts = tuple((kinds or {}).get(kind, 0) for kind in range(16))
    return replace(Descriptors(kinds=counts, tcp=0, udp=0, unix=0, all=True, sockets=()), **changes)


def context(pid: int = 100, signalled_at: int = 1, **changes: Any) -> Context:
    """The context of a worker in /srv without open files."""
    whole = Context(
        pid=pid,
        ktime=signalled_at + 5,
        signalled_at=signalled_at,
        arguments=b"worker\0--queue\0mailers\0",
        arguments_size=23,
        arguments_end=0,
        environment=None,
        environment_size=None,
        working_directory=("srv",),
        executable=("worker", "bin", "usr"),
        descriptors=descriptors(),
    )
    return replace(whole, **changes)


def exit_event(pid: int = 100, signalled_at: int = 1, after: int = 7_654_321, maxrss: int | None = 2400) -> Exit:
    return Exit(pid=pid, ktime=signalled_at + after, signalled_at=signalled_at, maxrss=maxrss)


def kill(**changes: Any) -> record.OomKill:
    """A record with the facts that every line has, and few more."""
    whole = record.OomKill(
        id="12345678-ee6b2800-100",
        seq=1,
        time="2023-11-14T22:13:19.000001Z",
        observed="2023-11-14T22:13:20.000000Z",
        message="worker (pid 100) was killed",
        fidelity="full",
        host=HOST,
        oom=record.Oom(incident="12345678-ee6b2800", verdict="killed"),
        process=record.Process(pid=100, comm="worker"),
    )
    return replace(whole, **changes)


def lost(count: int = 3) -> record.OomLost:
    return record.OomLost(
        id=f"12345678-lost-17-{count}",
        seq=2,
        observed="2023-11-14T22:13:20.000000Z",
        message=f"{count} kills could not be seen",
        fidelity="full",
        host=HOST,
        lost=record.Lost(count=count, from_="2023-11-14T22:13:19.000001Z", to="2023-11-14T22:13:20.000000Z"),
    )
