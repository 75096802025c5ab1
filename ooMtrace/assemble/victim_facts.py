# SPDX-License-Identifier: Apache-2.0
"""What a record states of a victim, however it was killed. Pure."""

from __future__ import annotations

from typing import Any

from ooMtrace import record
from ooMtrace.assemble.victim_context import join_path
from ooMtrace.events import Rss, Victim
from ooMtrace.kernel.snapshot import HostSnapshot


def process_of(victim: Victim, memory: record.Memory, snapshot: HostSnapshot, **context: Any) -> record.Process:  # noqa: ANN401
    """Return a victim's process; `context` has what was read in its own context."""
    parent, start = victim.parent, victim.start_boottime
    return record.Process(
        pid=victim.task.pid,
        tid=victim.task.tid,
        vpid=victim.task.vpid,
        comm=victim.task.comm,
        parent=record.Parent(pid=parent.pid, vpid=parent.vpid, comm=parent.comm),
        user=record.User(id=victim.uid),
        creation=record.Creation(time=None if start is None else snapshot.from_boottime(start)),
        threads=victim.threads,
        oom_score_adj=victim.oom_score_adj,
        memory=memory,
        **context,
    )


def memory_of(victim: Victim, rss: Rss, resident: int, page_size: int) -> record.Memory:
    """Return a victim's memory in bytes.

    Args:
        victim: Whose.
        rss: The reading of its counters (pages).
        resident: What of that is not swapped out (pages).
        page_size: Bytes.
    """

    def size(pages: int | None) -> int | None:
        return None if pages is None else pages * page_size

    # The kernel updates the peak only when memory is released (update_hiwater_rss()), so it may lag behind.
    peak = None if victim.hiwater_rss is None else max(victim.hiwater_rss, resident)
    return record.Memory(
        anon=size(rss.anon),
        file=size(rss.file),
        shmem=size(rss.shmem),
        swap=size(rss.swap),
        page_tables=victim.pgtables_bytes,
        total_vm=size(victim.total_vm),
        peak_rss=size(peak),
    )


def namespace_of(victim: Victim) -> record.Namespace:
    """Return a victim's namespaces."""
    return record.Namespace(hostname=victim.hostname, pid_ns=_text(victim.pid_ns), net_ns=_text(victim.net_ns))


def cgroup_of(
    id_: int,
    path: tuple[str, ...] | None,
    version: int | None,
    unified_id: int | None,
    unified_path: tuple[str, ...] | None,
) -> record.Cgroup:
    """Return a victim's memory cgroup, with that of version 2 if it is another one."""
    unified = record.UnifiedCgroup(path=join_path(unified_path), id=_text(unified_id))
    is_same = unified.path is None or unified.id == str(id_)
    return record.Cgroup(path=join_path(path), id=str(id_), version=version, v2=None if is_same else unified)


def _text(id_: int | None) -> str | None:
    """Turn a 64-bit id into text: JSON readers that parse numbers as doubles would change it."""
    return None if id_ is None else str(id_)
