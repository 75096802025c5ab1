# SPDX-License-Identifier: Apache-2.0
"""The message of a kill, or of an OOM without one: an English sentence from the facts of its record. Pure."""

from __future__ import annotations

from ooMtrace.record import Oom, Process

MAX_PATH = 200
"""Characters of a cgroup path."""

VERDICTS = {
    "group_member": " as a member of its cgroup's memory.oom.group",
    "shared_mm": " because it shares the memory of the chosen process",
}
REASONS = {
    "memcg": "a memory cgroup reached its limit",
    "global": "the host is out of memory",
    "cpuset": "the memory nodes of its cpuset are out of memory",
    "mempolicy": "the memory nodes of a memory policy are out of memory",
    "sysrq": "somebody asked for it with sysrq-f",
}


def describe_process(process: Process) -> str:
    """Return name and process id; the thread id where the process is not known."""
    return f"{process.comm or 'a process'} (pid {process.pid or process.tid})"


def describe_kill(process: Process, oom: Oom) -> str:
    """Return who was killed, how and why."""
    how = VERDICTS.get(oom.verdict or "", "")
    return f"{describe_process(process)} was killed by the kernel's OOM killer{how}: {_reason(oom)}"


def describe_no_kill(oom: Oom) -> str:
    """Return what ran out of memory, and why nothing was killed."""
    if oom.reason == "panic":
        return f"the kernel panicked instead of killing a process (vm.panic_on_oom): {_reason(oom)}"
    return f"the kernel's OOM killer found no process that it may kill: {_reason(oom)}"


def _reason(oom: Oom) -> str:
    if oom.scope == "memcg" and oom.memcg and oom.memcg.limit is not None:
        return f"memory cgroup {_short(oom.memcg.path)} reached its limit of {oom.memcg.limit / (1 << 20):.1f} MiB"
    return REASONS.get(oom.scope or "", "memory ran out")


def _short(path: str | None) -> str:
    """Keep the end of a long path: it is more specific than its beginning."""
    path = path or "?"
    return path if len(path) <= MAX_PATH else "..." + path[-MAX_PATH:]
