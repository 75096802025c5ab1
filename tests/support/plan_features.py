# SPDX-License-Identifier: Apache-2.0
"""Hosts as `oomtrace doctor --json` described them, and the expected facts and hints about what they lack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ooMtrace.kernel.features import Features
from ooMtrace.kernel.offsets import Offsets

FIXTURES = Path(__file__).parent.parent / "fixtures/features"


def pairs(values: dict[str, list[int]]) -> dict[str, tuple[int, int]]:
    return {name: (first, second) for name, (first, second) in values.items()}


def features(name: str) -> Features:
    """Load tests/fixtures/features/NAME.json, the `features` of `oomtrace doctor --json`."""
    found: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
    if "offsets" in found:
        found["offsets"] = Offsets(found["offsets"]["macros"], tuple(found["offsets"]["lacking"]))
    if "mark_victim" in found:
        found["mark_victim"] = tuple(found["mark_victim"])
    found["symbols"] = pairs(found.get("symbols", {}))
    found["formats"] = {tracepoint: pairs(fields) for tracepoint, fields in found.get("formats", {}).items()}
    return Features(**found)


AS_ROOT = "run as root: sudo oomtrace"
BOUNDED = "CapabilityBoundingSet= of a systemd unit, --cap-add of a container"
GRANT = f"grant CAP_BPF and CAP_PERFMON: {BOUNDED}"
GRANT_SYSLOG = f"grant CAP_SYSLOG: {BOUNDED}"
GRANT_READ = f"grant CAP_DAC_READ_SEARCH: {BOUNDED}"
CREATE = "create the device: mknod -m 600 /dev/kmsg c 1 11 (a container: --device=/dev/kmsg)"
ALLOW = "allow the device: DeviceAllow=/dev/kmsg r in a systemd unit, --device=/dev/kmsg for a container"
NO_CAPABILITY = ("loading BPF programs requires CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN", GRANT)
LOCKED = (
    "kernel lockdown is in confidentiality mode, in which BPF cannot read kernel memory",
    "boot with lockdown=integrity or without lockdown; until then only level log works",
)


def no_64_bit(machine: str) -> tuple[str, str]:
    return (
        f"BPF programs of oomtrace need a 64-bit kernel, and `uname -m` is {machine}",
        "boot a 64-bit kernel; until then only level log works",
    )


NO_BCC = (
    "BCC's Python module is not installed",
    "install BCC's Python module from your distribution (`bcc` on PyPI is an unrelated project)",
)
NO_TRACEFS = ("/sys/kernel/tracing cannot be read", "mount -t tracefs tracefs /sys/kernel/tracing")
NO_BTF = (
    "kernel type information is unavailable: /sys/kernel/btf/vmlinux: No such file or directory",
    "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y",
)
NO_PROBES = (
    "the kernel has no kprobes and rejects fentry (Operation not permitted)",
    "boot a kernel built with CONFIG_KPROBES=y",
)
LACKING = (
    "the kernel's structures differ: there is no task_struct.pid",
    "report this with the output of `oomtrace doctor --json`",
)
NO_TRACEPOINT = ("the kernel has no tracepoint oom:mark_victim", "boot Linux 4.14 or later")
INLINED = (
    "oom_kill_process is not in /proc/kallsyms: CONFIG_KALLSYMS is off, or the compiler inlined it",
    "boot a kernel built with CONFIG_KALLSYMS=y, or another build of it",
)
