# SPDX-License-Identifier: Apache-2.0
"""Why a level is out of reach on a host, and what to do about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ooMtrace.kernel.features import CAP_SYSLOG, Features
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

RUN_AS_ROOT = "run as root: sudo oomtrace (in a container: --privileged)"
PASS_KMSG = "pass the host's device to the container: --device /dev/kmsg"
INSTALL_BCC = "install it from your distribution: apt-get install python3-bpfcc (`bcc` on PyPI is an unrelated project)"
NO_PROC = Reason("/proc is not mounted", "mount -t proc proc /proc")
NO_CAPABILITY = Reason("loading BPF programs requires CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN", RUN_AS_ROOT)
CONFIDENTIAL = Reason(
    "kernel lockdown is in confidentiality mode, in which BPF cannot read kernel memory",
    "boot with lockdown=integrity or without lockdown; until then only level log works",
)
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
    if not features.can_load_bpf():
        return NO_CAPABILITY
    if features.lockdown == "confidentiality":
        return CONFIDENTIAL
    return bcc_obstacle(features)


def machine_obstacle(features: Features) -> Reason | None:
    """Return what makes the machine unsuitable: the programs read 64-bit fields and addresses."""
    if features.is_64_bit():
        return None
    fact = f"BPF programs of oomtrace need a 64-bit kernel, and `uname -m` is {features.machine}"
    return Reason(fact, "boot a 64-bit kernel; until then only level log works")


def bcc_obstacle(features: Features) -> Reason | None:
    """Return what prevents compiling BPF programs."""
    return Reason(features.bcc_error, INSTALL_BCC) if features.bcc_error else None


def kmsg_obstacle(features: Features) -> Reason | None:
    """Return what prevents reading the kernel log."""
    if not features.kmsg_error:
        return None
    if features.kmsg_error == NOT_PERMITTED and features.dmesg_restrict and not features.has(CAP_SYSLOG):
        return Reason("/dev/kmsg cannot be read (kernel.dmesg_restrict=1 and no CAP_SYSLOG)", RUN_AS_ROOT)
    hint = RUN_AS_ROOT if features.kmsg_error == DENIED else PASS_KMSG
    return Reason(f"/dev/kmsg cannot be read ({features.kmsg_error})", hint)


def tracefs_obstacle(features: Features) -> Reason | None:
    """Return what prevents reading the format of the tracepoints."""
    if features.tracefs_error == DENIED:
        return Reason(NO_TRACEFS, f"{RUN_AS_ROOT}, or grant CAP_DAC_READ_SEARCH")
    if features.tracefs_error:
        return Reason(NO_TRACEFS, "mount -t tracefs tracefs /sys/kernel/tracing")
    return None if features.formats.get("oom/mark_victim") else NO_TRACEPOINT


def types_obstacle(features: Features) -> Reason | None:
    """Return what prevents reading the kernel's structures."""
    if features.btf_error or features.offsets is None:
        fact = f"kernel type information is unavailable: {features.btf_error}"
        return Reason(fact, "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y")
    if features.offsets.lacking:
        fact = f"the kernel's structures differ: there is no {features.offsets.lacking[0]}"
        return Reason(fact, "report this with the output of `oomtrace doctor --json`")
    return NO_TRACEPOINT if features.mark_victim is None else None


def decision_obstacle(features: Features) -> Reason | None:
    """Return what prevents reading the decision, struct oom_control at oom_kill_process()."""
    if "oom_kill_process" not in features.symbols:
        fact = "oom_kill_process is not in /proc/kallsyms: CONFIG_KALLSYMS is off, or the compiler inlined it"
        return Reason(fact, "boot a kernel built with CONFIG_KALLSYMS=y, or another build of it")
    if not features.kprobes and features.fentry_error:
        fact = f"the kernel has no kprobes and rejects fentry ({features.fentry_error})"
        return Reason(fact, "boot a kernel built with CONFIG_KPROBES=y")
    return None
