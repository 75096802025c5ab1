# SPDX-License-Identifier: Apache-2.0
"""Suggestions for runtimes and job systems. Pure."""

from __future__ import annotations

import re

from ooMtrace.explain.amounts import GIB, KIB, MIB, count, duration, plural, size
from ooMtrace.explain.case import Case

UNITS = {"": 1, "b": 1, "k": KIB, "m": MIB, "g": GIB, "kib": KIB, "mib": MIB, "gib": GIB}
MAX_RAM = re.compile(r"-XX:MaxRAMPercentage=([0-9]{1,3})(?:\.[0-9]{1,9})?", re.ASCII)
XMX = re.compile(r"-Xmx([0-9]{1,15})([kKmMgG]?)", re.ASCII)
NODE_HEAP = re.compile(r"(?:\A|\s)--max[-_]old[-_]space[-_]size[= ]([0-9]{1,9})(?=\s|\Z)", re.ASCII)
GO_LIMIT = re.compile(r"([0-9]{1,15})(B|KiB|MiB|GiB)?", re.ASCII)
BUSY = re.compile(r"\[([0-9]{1,6}) of ([0-9]{1,6}) busy\]", re.ASCII)
GO_TENTHS = 9
ALIKE = 3
"""Processes of one name: from here on they are workers."""

NODE_QUARTERS = 3

WORKERS = {
    "gunicorn": "lower --workers",
    "puma": "lower workers (WEB_CONCURRENCY)",
    "php-fpm": "set pm.max_children to that",
    "celery": "lower --concurrency",
}
RECYCLED = {
    "gunicorn": "--max-requests restarts workers before they have grown",
    "php-fpm": "memory_limit ends the one request that needs too much, pm.max_requests restarts children",
    "puma": "fewer threads per worker, or a periodic restart of workers, keeps it smaller",
}


def jvm_heap(case: Case) -> str | None:
    """The heap may grow beyond the limit."""
    heap = _xmx(case)
    if case.limit is None or heap is None or heap < case.limit:
        return None
    return (
        f"Its options let the heap grow to {size(heap)}, and the limit is {size(case.limit)}: lower -Xmx, or use"
        " -XX:MaxRAMPercentage=75 in its place, which follows the limit."
    )


def jvm_outside(case: Case) -> str | None:
    """What the JVM needs beside its heap does not fit."""
    heap = _xmx(case)
    if case.limit is None or heap is None or heap >= case.limit or case.resident is None or case.resident <= heap:
        return None
    threads = case.facts.amount("process.threads")
    count_ = f", {plural(threads, 'thread')}" if threads else ""
    return (
        f"It held {size(case.resident - heap)} more than its largest heap, {size(heap)}: metaspace, buffers{count_}."
        f" The limit leaves {size(case.limit - heap)} for that: lower -Xmx or MaxRAMPercentage."
    )


def _xmx(case: Case) -> int | None:
    """Return the largest heap in bytes that the arguments allow: the last -Xmx counts, else MaxRAMPercentage."""
    if not _is_program(case, "java"):
        return None
    found = [match for one in case.facts.raw_texts("process.command_args") if (match := XMX.fullmatch(one))]
    if found:
        return int(found[-1][1]) * UNITS[found[-1][2].lower()]
    shares = [match for one in case.facts.raw_texts("process.command_args") if (match := MAX_RAM.fullmatch(one))]
    return case.limit * int(shares[-1][1]) // 100 if shares and case.limit is not None else None


def node_heap(case: Case) -> str | None:
    """Node's heap may grow beyond the limit."""
    heap = _node_heap(case)
    if case.limit is None or heap is None or heap < case.limit:
        return None
    return (
        f"--max-old-space-size lets the heap grow to {size(heap)}, and the limit is {size(case.limit)}: lower it to"
        f" {count(_three_quarters(case.limit))}, three quarters of the limit in MiB."
    )


def node_default(case: Case) -> str | None:
    """No heap size is given, so V8 chooses one."""
    if case.limit is None or case.limit < MIB or not _is_program(case, "node") or _node_heap(case) is not None:
        return None
    if not case.facts.raw_texts("process.command_args") or not case.is_mostly("anonymous", 50):
        return None
    return (
        "Its arguments set no --max-old-space-size, so V8 may collect too late for this limit: try"
        f" {count(_three_quarters(case.limit))}, three quarters of {size(case.limit)} in MiB."
    )


def _node_heap(case: Case) -> int | None:
    if not _is_program(case, "node"):
        return None
    options = " ".join(case.facts.raw_texts("process.command_args"))
    found = NODE_HEAP.findall(f"{options} {case.facts.word('process.environment.NODE_OPTIONS') or ''}")
    return int(found[-1]) * MIB if found else None


def _three_quarters(limit: int) -> int:
    return limit * NODE_QUARTERS // 4 // MIB


def go_limit(case: Case) -> str | None:
    """GOMEMLIMIT does not leave the collector time to react."""
    found = GO_LIMIT.fullmatch(case.facts.word("process.environment.GOMEMLIMIT") or "")
    if found is None or not case.limit:
        return None
    soft = int(found[1]) * UNITS[(found[2] or "").lower()]
    if soft * 10 <= case.limit * GO_TENTHS:
        return None
    return (
        f"GOMEMLIMIT is {size(soft)} and the limit {size(case.limit)}: leave a tenth for what the Go runtime does not"
        " count (C memory, page cache), so that it collects before the kernel kills."
    )


def workers(case: Case) -> str | None:
    """More workers than fit into the limit."""
    comm, name = case.facts.word("process.comm"), case.facts.text("process.comm")
    if not case.limit or not case.resident or comm is None:
        return None
    alike = 1 + sum(
        one.word("comm") == comm and (one.amount("memory") or 0) * 2 >= case.resident for one in case.rivals
    )
    fitting = case.limit // case.resident
    if alike <= fitting or alike < ALIKE or not fitting:
        return None
    how = WORKERS.get(case.facts.word("job.system") or "", "start fewer")
    return (
        f"At least {count(alike)} processes named {name} of up to {size(case.resident)} share {size(case.limit)}, which"
        f" holds {count(fitting)} of that size: {how}, or raise the limit."
    )


def sidekiq_arenas(case: Case) -> str | None:
    """Many threads of Ruby fragment the memory of glibc's arenas."""
    threads = case.facts.amount("process.threads")
    if case.facts.word("job.system") != "sidekiq" or not threads or threads < 2:  # noqa: PLR2004
        return None
    if not case.is_mostly("anonymous", 50) or case.facts.has("process.environment.MALLOC_ARENA_MAX"):
        return None
    return (
        f"{plural(threads, 'thread')} share glibc's arenas, which fragment under Ruby: set MALLOC_ARENA_MAX=2, or"
        " preload jemalloc."
    )


def sidekiq_job(case: Case) -> str | None:
    """Its jobs are lost."""
    if case.facts.word("job.system") != "sidekiq" or case.event != "oom_kill":
        return None
    busy = BUSY.search(case.facts.word("process.title") or "")
    if busy is None or int(busy[1]) == 0:
        return None
    jobs = "1 job was" if int(busy[1]) == 1 else f"{int(busy[1]):,} jobs were"
    return f"{jobs} running ({busy[0]}), and lost unless super_fetch is used: enqueue again, and give locks a TTL."


def celery_job(case: Case) -> str | None:
    """Its task is lost, and its memory can be limited."""
    if case.facts.word("job.system") != "celery" or case.facts.word("job.role") != "worker" or not case.resident:
        return None
    return (
        f"It had grown to {size(case.resident)}: worker_max_memory_per_child (in KiB) replaces a child before that;"
        " task_acks_late with task_reject_on_worker_lost runs its task again."
    )


def recycle(case: Case) -> str | None:
    """A worker that filled the limit by itself."""
    system = case.facts.word("job.system") or ""
    if system not in RECYCLED or not case.limit or not case.resident or case.resident * 2 < case.limit:
        return None
    after = f" after {duration(case.age)}" if case.age is not None else ""
    return f"This one worker held {size(case.resident)} of {size(case.limit)}{after}: {RECYCLED[system]}."


def postgresql(case: Case) -> str | None:
    """A backend died, and all others with it."""
    if case.facts.word("job.system") != "postgresql" or not case.resident:
        return None
    if case.facts.word("job.role") == "postmaster":
        return None
    if case.scope == "global":
        return (
            f"This backend held {size(case.resident)}, and all sessions ended with it: vm.overcommit_memory=2 makes"
            " malloc fail in the one query in place of that."
        )
    return (
        f"This backend held {size(case.resident)}, and all sessions ended with it: lower work_mem, which each sort and"
        " hash of each session may take, or max_connections."
    )


def _is_program(case: Case, name: str) -> bool:
    arguments = case.facts.raw_texts("process.command_args")
    first = arguments[0].rpartition("/")[2] if arguments else None
    path = (case.facts.word("process.executable.path") or "").rpartition("/")[2]
    return name in (first, path, case.facts.word("process.comm"))
