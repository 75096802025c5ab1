# SPDX-License-Identifier: Apache-2.0
"""What a host has and lacks, thing by thing: the ladder names the first that is in the way, and this names all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ooMtrace.kernel import plan
from ooMtrace.kernel.features import CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_SYSLOG, Features
from ooMtrace.kernel.plan import Reason
from ooMtrace.settings import LEVELS

CAPABILITIES = {
    "CAP_SYS_ADMIN": CAP_SYS_ADMIN,
    "CAP_BPF": CAP_BPF,
    "CAP_PERFMON": CAP_PERFMON,
    "CAP_SYSLOG": CAP_SYSLOG,
    "CAP_SYS_PTRACE": CAP_SYS_PTRACE,
}

GIVES = {
    "full": "everything: the kernel's own decision and its ranking",
    "reduced": "all but the decision's own words",
    "minimal": "what the tracepoint says, and what /proc still has",
    "log": "what the kernel log says",
}

OTHER_PIDS = (
    "a container's: nothing of a victim is looked up in /proc, which lists others by these numbers",
    "give the container the host's: hostPID: true, or --pid=host",
)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing: whether it is as it should be, what is so, and what to do about it."""

    name: str
    ok: bool
    fact: str
    hint: str = ""


def checks(features: Features, bcc: str) -> Iterator[Check]:
    """Yield what was found, thing by thing.

    Args:
        features: The host.
        bcc: The version of BCC; "" if there is none.
    """
    yield _check("bcc", bcc, (features.bcc_error, plan.INSTALL_BCC) if features.bcc_error else None)
    yield _capabilities(features)
    locked = plan.CONFIDENTIAL if features.lockdown == "confidentiality" else None
    yield _check("lockdown", features.lockdown or "none to be seen", locked)
    yield _check("btf", "the kernel describes its types", plan.types_obstacle(features))
    probes = ("kprobes", features.kprobes), ("fentry", not features.fentry_error)
    yield _check("probes", ", ".join(name for name, there in probes if there), plan.decision_obstacle(features))
    yield _check("kallsyms", "addresses are shown", _hidden(features))
    yield _check("tracefs", "/sys/kernel/tracing can be read", plan.tracefs_obstacle(features))
    yield _check("kernel_log", "/dev/kmsg can be read", plan.kmsg_obstacle(features))
    yield _check("kill_counter", "/proc/vmstat counts all kills", _uncounted(features))
    yield _check("cgroups", _cgroups(features), _no_cgroups(features))
    yield _check("pid_namespace", "the host's", None if features.host_pids else OTHER_PIDS)


def levels(features: Features) -> Iterator[Check]:
    """Yield the levels, from the richest to the poorest."""
    blocked = {one.level: (one.fact, one.hint) for one in plan.obstacles(features)}
    return (_check(level, GIVES[level], blocked.get(level)) for level in reversed(LEVELS))


def _check(name: str, fact: str, problem: Reason | None) -> Check:
    return Check(name, False, *problem) if problem else Check(name, True, fact)


def _capabilities(features: Features) -> Check:
    have = [name for name, number in CAPABILITIES.items() if features.has(number)]
    lacking = [name for name in CAPABILITIES if name not in have]
    fact = ", ".join(have) or "none that matter"
    if lacking and have:
        fact += f"; not {', '.join(lacking)}"
    if features.can_load_bpf():
        return Check("capabilities", True, fact)
    return Check("capabilities", False, f"{fact}: {plan.NO_CAPABILITY[0]}", plan.NO_CAPABILITY[1])


def _hidden(features: Features) -> Reason | None:
    if any(start for start, _ in features.symbols.values()):
        return None
    return (
        "no addresses: below level full it cannot be told whose limit was hit (oom.scope, oom.memcg)",
        "CAP_SYSLOG shows them, unless kernel.kptr_restrict=2",
    )


def _uncounted(features: Features) -> Reason | None:
    if features.oom_kill_counter:
        return None
    return "/proc/vmstat has no oom_kill: that no kill was missed cannot be proven", "kernels from 4.13 on count"


def _cgroups(features: Features) -> str:
    mode = "hybrid" if len(features.cgroups) > 1 else features.memory_cgroups
    return f"{mode}: memory at {features.cgroups.get(features.memory_cgroups)}"


def _no_cgroups(features: Features) -> Reason | None:
    if features.memory_cgroups:
        return None
    return "no memory cgroups are mounted here", "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
