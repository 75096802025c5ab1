# SPDX-License-Identifier: Apache-2.0
"""Suggestions about the kind of memory that filled a limit, and how fast. Pure."""

from __future__ import annotations

import re
from datetime import timedelta

from ooMtrace.explain.amounts import MIB, count, duration, percent, size
from ooMtrace.explain.case import Case

HEAP_SHARE = 70
"""Percent of the limit that is the victim's own heap: from here on its own growth is the cause."""

SHARED_SHARE, TABLES_SHARE, KERNEL_SHARE, FILES_SHARE, REST_SHARE = 30, 25, 30, 50, 50
REPEATED = 3
SHORT, LONG = timedelta(minutes=1), timedelta(hours=1)
FAST = 10 * MIB
"""Bytes per second over a short life: 600 MiB in a minute."""

QUEUES = ("sidekiq", "resque", "celery", "rq", "solid_queue", "good_job", "delayed_job", "airflow")
"""Systems whose `job.name` is the piece of work that used the memory."""

UNIT_NAME = re.compile(r"[A-Za-z0-9:_.@-]{1,128}", re.ASCII)


def shared_memory(case: Case) -> str | None:
    """Shared memory or files in a tmpfs filled the limit."""
    found = case.share("shared, tmpfs")
    if case.scope != "memcg" or found is None or not case.is_mostly("shared, tmpfs", SHARED_SHARE):
        return None
    return (
        f"{size(found[0])} of {size(found[1])} ({percent(*found)} %) is shared memory or files in a tmpfs, which stay"
        " until they are deleted: look at /dev/shm, emptyDir with medium Memory, and ipcs -m."
    )


def page_tables(case: Case) -> str | None:
    """Page tables take much of the memory."""
    found = case.share("page tables")
    if found is None or not case.is_mostly("page tables", TABLES_SHARE):
        return None
    total_vm = case.facts.amount("process.memory.total_vm")
    space = f" for an address space of {size(total_vm)}" if total_vm else ""
    return (
        f"{size(found[0])} ({percent(*found)} %) is page tables{space}: it touches few pages of large mappings."
        " Use huge pages, or map less."
    )


def kernel_memory(case: Case) -> str | None:
    """The kernel's own memory fills the cgroup."""
    found = case.share("other kernel")
    if found is None or not case.is_mostly("other kernel", KERNEL_SHARE):
        return None
    names = {"slab": "slab", "sock": "socket buffers", "percpu": "per-CPU", "kernel_stack": "thread stacks"}
    sizes = {text: case.facts.amount(f"oom.memcg.stat.{name}") or 0 for name, text in names.items()}
    largest = max(sizes, key=lambda name: sizes[name])
    most = f", most of it {largest} ({size(sizes[largest])})" if sizes[largest] else ""
    return f"{size(found[0])} ({percent(*found)} %) is kernel memory{most}: count its files, sockets and threads."


def mapped_files(case: Case) -> str | None:
    """Pages of files that could not be given back."""
    found = case.share("mapped files")
    if case.scope != "memcg" or not case.limit or found is None or not case.is_mostly("mapped files", FILES_SHARE):
        return None
    if found[0] * 2 < case.limit:
        return None
    return (
        f"{size(found[0])} ({percent(*found)} %) is files that it maps, which the kernel drops unless they are locked"
        " or dirty: look for mlock, or for writes faster than the disk."
    )


def repeated(case: Case) -> str | None:
    """The same limit kills again and again."""
    kills = case.facts.amount("oom.memcg.events.oom_kill")
    if not _is_own_heap(case) or kills is None or kills < REPEATED or case.limit is None or _is_old(case):
        return None
    if case.is_group:  # each of its members is counted
        return None
    after = f", this one {duration(case.age)} after its start" if case.age is not None else ""
    how = f" {_how(case)}" if _how(case) else ""
    return f"{count(kills)} kills in this cgroup so far{after}: what runs here needs more than {size(case.limit)}.{how}"


def leak(case: Case) -> str | None:
    """A long life that ended at the limit."""
    anon = case.facts.amount("process.memory.anon")
    if not _is_own_heap(case) or not _is_old(case) or case.age is None or anon is None:
        return None
    hourly = int(anon / (case.age / LONG))
    return (
        f"It held {size(anon)} of heap after {duration(case.age)}, on average {size(hourly)} more each hour: with a"
        " steady load that is a leak. Compare heap profiles; meanwhile, restart it earlier than that."
    )


def spike(case: Case) -> str | None:
    """A short life in which memory grew fast."""
    anon = case.facts.amount("process.memory.anon")
    if not _is_own_heap(case) or case.age is None or not timedelta() < case.age < SHORT or anon is None:
        return None
    rate = int(anon / case.age.total_seconds())
    if rate < FAST:
        return None
    is_queue = case.facts.word("job.system") in QUEUES
    job = case.facts.text("job.name", 60) if is_queue else None
    inside = f" inside {job}" if job else ""
    return (
        f"A spike{inside}: {size(anon)} of heap in {duration(case.age)}, {size(rate)} a second. Find what it loads at"
        " once, and load that in batches."
    )


def too_small(case: Case) -> str | None:
    """The victim itself needs more than the limit."""
    anon = case.facts.amount("process.memory.anon")
    if not _is_own_heap(case) or case.limit is None or anon is None:
        return None
    how = f" {_how(case)}" if _how(case) else ""
    return f"{size(anon)} of heap filled the limit: if that is normal, it needs more than {size(case.limit)}.{how}"


def not_held(case: Case) -> str | None:
    """No process holds what is charged."""
    if case.scope != "memcg" or case.others is None or not case.usage or case.rivals or case.charged:
        return None
    if case.is_own_trigger is False or case.others * 100 < REST_SHARE * case.usage:
        return None
    return (
        f"At least {size(case.others)} of {size(case.usage)} is not this process's memory: look for files in a tmpfs"
        " (df -t tmpfs), other processes in the cgroup, and kernel memory (memory.stat)."
    )


def _is_own_heap(case: Case) -> bool:
    anon = case.facts.amount("process.memory.anon")
    whole = case.limit if case.scope == "memcg" else case.facts.amount("oom.limit_bytes")
    if case.scope not in ("memcg", "global") or case.event != "oom_kill":
        return False
    if case.facts.word("oom.verdict") in ("group_member", "shared_mm"):
        return False
    return anon is not None and bool(whole) and anon * 100 >= HEAP_SHARE * (whole or 0)


def _is_old(case: Case) -> bool:
    return case.age is not None and case.age >= LONG


def _how(case: Case) -> str:
    """Return how this kind of limit is raised; "" if that is not known."""
    facts, owner = case.facts, case.facts.word("oom.limit_owner")
    if owner == "container" and facts.has("k8s"):
        return "Raise resources.limits.memory of the container."
    if owner == "container" and facts.word("container.runtime") in ("docker", "podman"):
        return f"Raise it: {facts.word('container.runtime')} update --memory."
    unit = facts.word("systemd.unit") or ""
    if owner == "unit" and facts.word("systemd.manager") == "system" and UNIT_NAME.fullmatch(unit):
        return f"Raise it: systemctl set-property {unit} MemoryMax=SIZE."
    if owner == "job" and facts.word("scheduler.system") == "slurm":
        return "Request more: sbatch --mem."
    return ""
