# SPDX-License-Identifier: Apache-2.0
"""What a host offers and lacks, one row each. A level names its first obstacle only; these rows name all. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ooMtrace.kernel import obstacles, remedies
from ooMtrace.kernel.features import CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_SYSLOG, Features
from ooMtrace.kernel.obstacles import Reason
from ooMtrace.settings import LEVELS, Level

CAPABILITIES = {
    "CAP_SYS_ADMIN": CAP_SYS_ADMIN,
    "CAP_BPF": CAP_BPF,
    "CAP_PERFMON": CAP_PERFMON,
    "CAP_SYSLOG": CAP_SYSLOG,
    "CAP_SYS_PTRACE": CAP_SYS_PTRACE,
}

GIVES: dict[Level, str] = {
    "full": "the victim and the kernel's decision: constraint, limit, points, ranking of candidates",
    "reduced": "the victim, with derived scope, limit and points; no constraint, gfp_mask, order or ranking",
    "minimal": "what the tracepoint reports (pid, name, memory sizes), and what /proc still has",
    "log": "what the kernel prints about a kill in its log",
}
"""What a line has at each level."""

OTHER_PIDS = "not the host's: /proc lists other pids than the kernel, so victims are not looked up there"


@dataclass(frozen=True, slots=True)
class Check:
    """One row: whether the thing is as it should be, the fact, and what to do about it ("" if nothing)."""

    name: str
    ok: bool
    fact: str
    hint: str = ""


def checks(features: Features, bcc: str) -> Iterator[Check]:
    """Yield one row for each thing that decides how much can be traced.

    Args:
        features: The host.
        bcc: The version of BCC; "" if there is none.
    """
    locked = obstacles.CONFIDENTIAL if features.lockdown == "confidentiality" else None
    yield _check("machine", f"{features.machine}, 64-bit", obstacles.machine_obstacle(features))
    yield _check("bcc", bcc, obstacles.bcc_obstacle(features))
    yield _capabilities(features)
    yield _check("lockdown", features.lockdown or "none detected", locked)
    yield _check("btf", "kernel type information is available", obstacles.types_obstacle(features))
    yield _check("probes", _probes(features), _no_probes(features))
    yield _check("kallsyms", "symbol addresses are visible", _hidden_addresses(features))
    yield _check("tracefs", "/sys/kernel/tracing is readable", obstacles.tracefs_obstacle(features))
    yield _check("kernel_log", "/dev/kmsg is readable", obstacles.kmsg_obstacle(features))
    yield _check("kill_counter", "/proc/vmstat counts OOM kills", _no_counter(features))
    yield _check("cgroups", _cgroups(features), _no_cgroups(features))
    yield _check("pid_namespace", "the host's", pid_namespace_problem(features))


def levels(features: Features) -> Iterator[Check]:
    """Yield one row for each level, from the most to the least: what it gives, or its obstacle."""
    blocked = {found.level: Reason(found.fact, found.hint) for found in obstacles.obstacles(features)}
    return (_check(level, GIVES[level], blocked.get(level)) for level in reversed(LEVELS))


def _check(name: str, fact: str, problem: Reason | None) -> Check:
    return Check(name, False, *problem) if problem else Check(name, True, fact)


def _capabilities(features: Features) -> Check:
    held = [name for name, number in CAPABILITIES.items() if features.has(number)]
    lacking = [name for name in CAPABILITIES if name not in held]
    fact = ", ".join(held) or "none of those needed"
    if lacking and held:
        fact += f"; without {', '.join(lacking)}"
    if not features.proc:
        return Check("capabilities", False, *obstacles.NO_PROC)
    if problem := obstacles.privilege_obstacle(features):
        return Check("capabilities", False, f"{fact}: {problem.fact}", problem.hint)
    return Check("capabilities", True, fact)


def _probes(features: Features) -> str:
    available = {"kprobes": features.kprobes, "fentry": not features.fentry_error}
    return ", ".join(name for name, is_available in available.items() if is_available)


def _no_probes(features: Features) -> Reason | None:
    """Without the right to load programs, it is not known whether the kernel would accept fentry."""
    problem = obstacles.decision_obstacle(features)
    if problem and features.fentry_error == obstacles.NOT_PERMITTED and features.surroundings.sysfs:
        return obstacles.privilege_obstacle(features) or problem
    return problem


def _hidden_addresses(features: Features) -> Reason | None:
    if any(start for start, _ in features.symbols.values()):
        return None
    fact = "symbol addresses are hidden: below level full, oom.scope and oom.memcg will be missing"
    if features.has(CAP_SYSLOG) and features.surroundings.host_users:
        return Reason(fact, "sysctl kernel.kptr_restrict=1")
    return Reason(fact, obstacles.grant(features, "SYSLOG"))


def _no_counter(features: Features) -> Reason | None:
    if features.oom_kill_counter:
        return None
    return Reason("/proc/vmstat has no oom_kill counter: missed kills cannot be detected", "boot Linux 4.13 or later")


def pid_namespace_problem(features: Features) -> Reason | None:
    """Return why victims are not looked up in /proc."""
    if not features.proc:
        return obstacles.NO_PROC
    return None if features.host_pids else Reason(OTHER_PIDS, remedies.share_pids(features.surroundings))


def _cgroups(features: Features) -> str:
    mode = "hybrid" if len(features.cgroups) > 1 else features.memory_cgroups
    return f"{mode}, memory controller at {features.cgroups.get(features.memory_cgroups)}"


def _no_cgroups(features: Features) -> Reason | None:
    if features.memory_cgroups:
        return None
    command = "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
    hint = remedies.mount_host(features.surroundings, "/sys/fs/cgroup", command)
    return Reason("no hierarchy with the memory controller is mounted", hint)
