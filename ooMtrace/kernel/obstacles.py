# SPDX-License-Identifier: Apache-2.0
"""Why a level is out of reach on a host, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ooMtrace.kernel import remedies
from ooMtrace.kernel.features import (
    CAP_BPF,
    CAP_PERFMON,
    CAP_SYS_ADMIN,
    CAP_SYS_PTRACE,
    CAP_SYSLOG,
    Features,
)
from ooMtrace.settings import Level


class Reason(NamedTuple):
    """What is missing, and what to do about it: one line each."""

    fact: str
    hint: str


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why one level is out of reach, and what to do about it."""

    level: Level
    fact: str
    hint: str


DENIED, NOT_PERMITTED = "Permission denied", "Operation not permitted"
"""strerror(3) of EACCES and EPERM, as Features has them."""

INSTALL_BCC = "install BCC's Python module from your distribution (`bcc` on PyPI is an unrelated project)"
NO_PROC = Reason("/proc is not mounted", "mount -t proc proc /proc")
NO_SYSFS = Reason("/sys is not mounted", "mount -t sysfs sysfs /sys")
NO_CAPABILITY = "loading BPF programs requires CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN"
CONFIDENTIAL = Reason(
    "kernel lockdown is in confidentiality mode, in which BPF cannot read kernel memory",
    "boot with lockdown=integrity or without lockdown; until then only level log works",
)
CHECK_POLICIES = "check the policies of the kernel's security modules (SELinux, AppArmor) in the audit log"
RELEVANT = (CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_SYSLOG)
NO_TRACEFS = "/sys/kernel/tracing cannot be read"
NO_TRACEPOINT = Reason("the kernel has no tracepoint oom:mark_victim", "boot Linux 4.14 or later")


def obstacles(features: Features) -> tuple[Obstacle, ...]:
    """Return at most one obstacle for each level, from the least level to the most."""
    bpf = _bpf_obstacle(features)
    reduced = bpf or types_obstacle(features)
    found: dict[Level, Reason | None] = {
        "log": kmsg_obstacle(features),
        "minimal": bpf or tracefs_obstacle(features),
        "reduced": reduced,
        "full": reduced or decision_obstacle(features),
    }
    for level, refusal in features.refused.items():
        found[level] = found[level] or Reason(*refusal)
    return tuple(Obstacle(level, *reason) for level, reason in found.items() if reason)


def _bpf_obstacle(features: Features) -> Reason | None:
    """Return what prevents loading any BPF program."""
    if not features.proc:
        return NO_PROC
    if not features.is_64_bit():
        return machine_obstacle(features)
    if problem := privilege_obstacle(features):
        return problem
    if features.lockdown == "confidentiality":
        return CONFIDENTIAL
    return bcc_obstacle(features)


def privilege_obstacle(features: Features) -> Reason | None:
    """Return what forbids this process to load BPF programs."""
    where = features.surroundings
    if not features.can_load_bpf():
        return Reason(NO_CAPABILITY, grant(features, *lacking_for_bpf(features)))
    if not features.bpf_error:
        return _perf_obstacle(features)
    if not where.host_users:
        fact = "capabilities do not count for BPF in a user namespace"
        return Reason(fact, remedies.leave_user_namespace(where))
    fact = f"the kernel refuses even an empty BPF program ({features.bpf_error})"
    if where.seccomp:
        return Reason(f"{fact}: a seccomp filter forbids bpf(2)", remedies.allow_system_call(where, "bpf(2)"))
    return Reason(fact, CHECK_POLICIES)


def _perf_obstacle(features: Features) -> Reason | None:
    """Return what prevents opening the buffers.

    Debian's kernels have a level 3 of perf_event_paranoid, their default, at which CAP_PERFMON does not suffice.
    """
    where = features.surroundings
    if not features.perf_error:
        return None
    fact = f"perf_event_open(2) is refused ({features.perf_error})"
    if features.perf_error == DENIED:
        hint = "on the host: sysctl kernel.perf_event_paranoid=2; otherwise it takes CAP_SYS_ADMIN"
        return Reason(f"{fact}: kernel.perf_event_paranoid is {where.perf_event_paranoid}", hint)
    if where.seccomp:
        return Reason(f"{fact}: a seccomp filter forbids it", remedies.allow_system_call(where, "perf_event_open(2)"))
    return Reason(fact, CHECK_POLICIES)


def is_unprivileged(features: Features) -> bool:
    """Return whether this is an ordinary user: that one fact explains most of what is missing."""
    return features.proc and features.surroundings.uid != 0 and not _relevant(features)


def lacking_for_bpf(features: Features) -> Sequence[str]:
    """Return the capabilities that are missing for loading programs, without `CAP_`."""
    if features.can_load_bpf():
        return ()
    lacking = [name for name, number in (("BPF", CAP_BPF), ("PERFMON", CAP_PERFMON)) if not features.has(number)]
    return remedies.bpf_capabilities(features.surroundings, lacking)


def grant_all(features: Features) -> str:
    """Return how to get at once all capabilities that are missing for what a line has; "" if none is."""
    syslog = () if features.has(CAP_SYSLOG) else ("SYSLOG",)
    lacking = (*lacking_for_bpf(features), *syslog)
    return grant(features, *lacking) if lacking else ""


def grant(features: Features, *names: str) -> str:
    """Return how to get these capabilities here; `names` are without `CAP_`."""
    return remedies.grant(features.surroundings, _relevant(features), *names)


def _relevant(features: Features) -> int:
    """Return those of the effective capabilities that tracing uses."""
    return features.capabilities & sum(1 << number for number in RELEVANT)


def machine_obstacle(features: Features) -> Reason | None:
    """Return what makes the machine unsuitable: the programs read 64-bit fields and addresses."""
    if features.is_64_bit():
        return None
    fact = f"BPF programs of oomtrace need a 64-bit kernel, and `uname -m` is {features.machine}"
    return Reason(fact, "boot a 64-bit kernel; until then only level log works")


def bcc_obstacle(features: Features) -> Reason | None:
    """Return what prevents compiling BPF programs."""
    return Reason(features.bcc_error, features.bcc_hint or INSTALL_BCC) if features.bcc_error else None


def kmsg_obstacle(features: Features) -> Reason | None:
    """Return what prevents reading the kernel log."""
    if not features.kmsg_error:
        return None
    if features.kmsg_error == NOT_PERMITTED and features.dmesg_restrict and not features.has(CAP_SYSLOG):
        fact = "/dev/kmsg cannot be read (kernel.dmesg_restrict=1 and no CAP_SYSLOG)"
        return Reason(fact, grant(features, "SYSLOG"))
    fact = f"/dev/kmsg cannot be read ({features.kmsg_error})"
    if features.kmsg_error == DENIED or not features.surroundings.host_users:
        return Reason(fact, grant(features, "DAC_READ_SEARCH"))
    if features.surroundings.container == "kubernetes":
        fact += ": Kubernetes passes no devices to such containers; only backfilling from the kernel log needs it"
    return Reason(fact, remedies.pass_kmsg(features.surroundings, exists=features.kmsg_error == NOT_PERMITTED))


def tracefs_obstacle(features: Features) -> Reason | None:
    """Return what prevents reading the format of the tracepoints."""
    if features.tracefs_error == DENIED:
        return Reason(NO_TRACEFS, grant(features, "DAC_READ_SEARCH"))
    if features.tracefs_error and not features.surroundings.sysfs:
        return NO_SYSFS
    if features.tracefs_error:
        command = "mount -t tracefs tracefs /sys/kernel/tracing"
        return Reason(NO_TRACEFS, remedies.mount_host(features.surroundings, "/sys/kernel/tracing", command))
    return None if features.formats.get("oom/mark_victim") else NO_TRACEPOINT


def types_obstacle(features: Features) -> Reason | None:
    """Return what prevents reading the kernel's structures."""
    if not features.surroundings.sysfs:
        return NO_SYSFS
    if features.btf_error or features.offsets is None:
        fact = f"kernel type information is unavailable: {features.btf_error}"
        hint = "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y"
        if features.surroundings.container:
            mount = remedies.mount_host(features.surroundings, "/sys/kernel/btf", "mount it into the container")
            hint = f"{mount}; if the host has none, {hint}"
        return Reason(fact, hint)
    if features.offsets.lacking:
        fact = f"the kernel's structures differ: there is no {features.offsets.lacking[0]}"
        return Reason(fact, "report this with the output of `oomtrace doctor --json`")
    return NO_TRACEPOINT if features.mark_victim is None else None


def decision_obstacle(features: Features) -> Reason | None:
    """Return what prevents reading the decision, struct oom_control at oom_kill_process()."""
    if not features.surroundings.sysfs:
        return NO_SYSFS
    if "oom_kill_process" not in features.symbols:
        fact = "oom_kill_process is not in /proc/kallsyms: CONFIG_KALLSYMS is off, or the compiler inlined it"
        return Reason(fact, "boot a kernel built with CONFIG_KALLSYMS=y, or another build of it")
    if not features.kprobes and features.fentry_error:
        fact = f"the kernel has no kprobes and rejects fentry ({features.fentry_error})"
        return Reason(fact, "boot a kernel built with CONFIG_KPROBES=y")
    return None
