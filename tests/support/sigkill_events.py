# SPDX-License-Identifier: Apache-2.0
"""Events and records of SIGKILLs from user space; a test changes what it is about."""

from __future__ import annotations

from typing import Any

from ooMtrace import record
from ooMtrace.assemble.sigkill import SigkillAssembler
from ooMtrace.events import Rss, Sigkill, Task, Victim

from .probe_events import HOST, NOW

MS = 1_000_000


def event(pid: int = 7, at_ms: int = 4000, *, sender: int = 512, start: int | None = None, **changes: Any) -> Sigkill:
    rss = Rss(file=1, anon=2, swap=0, shmem=3)
    victim = Victim(
        task=Task(pid, pid, 1, "ruby"),
        parent=Task(1, 1, 1, "systemd"),
        uid=1000,
        start_boottime=pid if start is None else start,
        oom_score_adj=0,
        threads=8,
        rss=rss,
        rss_sum=rss,
        pgtables_bytes=4096,
        total_vm=10,
        hiwater_rss=5,
        pid_ns=1,
        net_ns=2,
        hostname="host",
    )
    facts: dict[str, Any] = {
        "ktime": at_ms * MS,
        "cgroup_kill": False,
        "sender": Task(sender, sender, sender, "systemd-oomd"),
        "sender_uid": 998,
        "victim": victim,
        "memcg_version": 2,
        "memcg_id": 5,
        "memcg_path": ("sidekiq.service", "system.slice"),
        "unified_id": 5,
        "unified_path": ("sidekiq.service", "system.slice"),
        "sender_memcg_path": ("systemd-oomd.service", "system.slice"),
        "sender_unified_path": ("systemd-oomd.service", "system.slice"),
    }
    return Sigkill(**{**facts, **changes})


def records(*events: Sigkill) -> list[record.Sigkill]:
    return list(SigkillAssembler(HOST, "full").add(events, NOW))
