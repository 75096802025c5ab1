# SPDX-License-Identifier: Apache-2.0
"""The message of a kill, or of an OOM without one: an English sentence from the facts of its record. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ooMtrace.record import Job, Oom, Process

if TYPE_CHECKING:
    from ooMtrace.record import OomKill, Scheduler, Sender, Systemd

MAX_PATH = 200
"""Characters of a cgroup path."""

SHORT_ID = 12
"""Characters of a container id, as container runtimes print it."""

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
ALREADY_DYING = "was already dying when memory ran out; the OOM killer did not kill it"


def describe(kill: OomKill) -> str:
    """Return what happened, to whom and where, from everything that the record states."""
    where, victim = _location(kill), _describe_victim(kill)
    if kill.event == "oom_dying":
        return f"{victim} {ALREADY_DYING}"
    if kill.event == "oom_exit" and kill.exit is not None:
        return _describe_exit(victim, kill.exit.after_us)
    if where:
        return f"{victim} was killed{_how(kill.oom)}: {_limit(kill) or _reason(kill.oom)}"
    return f"{victim} was killed by the kernel's OOM killer{_how(kill.oom)}: {_reason(kill.oom)}"


def describe_sigkill(kill: OomKill, sender: Sender, *, via_cgroup_kill: bool) -> str:
    """Return who was killed with SIGKILL, where, and who sent it; `kill` has the victim's facts."""
    by = f"{sender.comm or 'a process'} (pid {sender.pid})"
    return f"{_describe_victim(kill)} was killed by {by}: SIGKILL{' through cgroup.kill' if via_cgroup_kill else ''}"


def _describe_victim(kill: OomKill) -> str:
    is_same = kill.job is not None and kill.scheduler is not None and kill.job.system == kill.scheduler.system
    who, where = describe_process(kill.process, None if is_same else kill.job), _location(kill)
    return f"{who} in {where}" if where else who


def describe_process(process: Process, job: Job | None = None) -> str:
    """Return name and process id; the thread id where the process is not known. A worker's system comes first."""
    comm, pid = process.comm or "a process", process.pid or process.tid
    if job is not None and job.system != process.comm:
        return f"{job.system} ({comm}, pid {pid})" if process.comm else f"{job.system} (pid {pid})"
    return f"{comm} (pid {pid})"


def describe_kill(process: Process, oom: Oom) -> str:
    """Return who was killed, how and why."""
    return f"{describe_process(process)} was killed by the kernel's OOM killer{_how(oom)}: {_reason(oom)}"


def describe_exit(process: Process, after_us: int) -> str:
    """Return who exited, and how long after the signal (microseconds)."""
    return _describe_exit(describe_process(process), after_us)


def _describe_exit(victim: str, after_us: int) -> str:
    return f"{victim} is gone, {after_us / 1000:.1f} ms after the OOM killer's signal"


def _how(oom: Oom) -> str:
    return VERDICTS.get(oom.verdict or "", "")


def describe_no_kill(oom: Oom) -> str:
    """Return what ran out of memory, and why nothing was killed."""
    if oom.reason == "panic":
        return f"the kernel panicked instead of killing a process (vm.panic_on_oom): {_reason(oom)}"
    return f"the kernel's OOM killer found no process that it may kill: {_reason(oom)}"


def _reason(oom: Oom) -> str:
    if oom.scope == "memcg" and oom.memcg and oom.memcg.limit is not None:
        return f"memory cgroup {_short(oom.memcg.path)} reached its limit of {_mebibytes(oom.memcg.limit)}"
    return REASONS.get(oom.scope or "", "memory ran out")


def _limit(kill: OomKill) -> str | None:
    """Return whose limit was hit; None if no limit was, or if it is only known as a cgroup's."""
    owner, memcg = kill.oom.limit_owner, kill.oom.memcg
    if owner is None or owner in ("cgroup", "node") or memcg is None:
        return None
    full_name = (memcg.path or "").rstrip("/").rpartition("/")[2]
    name = _short(full_name)
    # a user's unit is below another one, user@UID.service
    other_unit = kill.systemd is not None and kill.systemd.unit not in (None, full_name)
    of = {
        "unit": f"unit limit ({name})" if other_unit else "unit limit",
        "qos": f"QoS class limit ({name})",
        "kubepods": "limit of all pods",
        "slice": f"slice limit ({name})",
    }.get(owner, f"{owner} limit")
    return f"{of} reached" if memcg.limit is None else f"{of} of {_mebibytes(memcg.limit)}"


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def _location(kill: OomKill) -> str:
    """Return where the victim ran: pod, job or unit, and container; "" if that is not known."""
    around = _pod(kill) or (_scheduler(kill.scheduler) if kill.scheduler else "")
    if kill.container is not None:
        inner = _pod_container(kill) or f"container {kill.container.name or kill.container.id[:SHORT_ID]}"
        return f"{around}/{inner}" if around else inner
    return around or (_unit(kill.systemd) if kill.systemd else "")


def _pod(kill: OomKill) -> str:
    """Return the pod's name, or the first digits of its uid, enough to tell the pods of a node apart."""
    if kill.k8s is None:
        return ""
    if kill.k8s.pod.name:
        return f"{kill.k8s.namespace.name}/{kill.k8s.pod.name}" if kill.k8s.namespace else f"pod {kill.k8s.pod.name}"
    return f"pod {kill.k8s.pod.uid.partition('-')[0][:SHORT_ID]}"


def _pod_container(kill: OomKill) -> str | None:
    return kill.k8s.container.name if kill.k8s and kill.k8s.pod.name and kill.k8s.container else None


def _scheduler(scheduler: Scheduler) -> str:
    if scheduler.system == "slurm":
        step = f".{scheduler.step}" if scheduler.step else ""
        return f"Slurm job {scheduler.id}{step}"
    if scheduler.system == "htcondor":
        return f"HTCondor slot {scheduler.slot}"
    if scheduler.system == "ecs":
        return f"ECS task {scheduler.id}"
    return f"Nomad task {scheduler.task} of allocation {(scheduler.id or '').partition('-')[0]}"


def _unit(systemd: Systemd) -> str:
    user = f" of user {systemd.user}" if systemd.user is not None else ""
    if systemd.session is not None:
        return f"session {systemd.session}{user}"
    return f"{systemd.unit}{user}" if systemd.unit else ""


def _short(path: str | None) -> str:
    """Keep the end of a long path: it is more specific than its beginning."""
    path = path or "?"
    return path if len(path) <= MAX_PATH else "..." + path[-MAX_PATH:]
