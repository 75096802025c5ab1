# SPDX-License-Identifier: Apache-2.0
"""Hosts as `oomtrace doctor --json` described them, and what is said of what they lack."""

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


AS_ROOT = "run it as root: sudo oomtrace (a container: privileged)"
GIVE = "give the container the host's: --device /dev/kmsg"
NO_CAPABILITY = (
    "loading BPF programs needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN",
    AS_ROOT,
)
LOCKED = ("kernel lockdown is in mode confidentiality", "only the kernel log tells of kills on this host")
NO_BCC = (
    "BCC's Python module is not installed",
    "install it from your distribution: apt-get install python3-bpfcc (PyPI's `bcc` is another project)",
)
NO_TRACEFS = ("tracefs cannot be read", "mount -t tracefs tracefs /sys/kernel/tracing")
NO_BTF = (
    "no kernel type information (/sys/kernel/btf/vmlinux: No such file or directory)",
    "a kernel with CONFIG_DEBUG_INFO_BTF=y has it",
)
NO_PROBES = (
    "the kernel has no kprobes, and refuses fentry (Operation not permitted)",
    "a kernel with CONFIG_KPROBES=y has them",
)
LACKING = ("this kernel has no task_struct.pid", "please report it, with `oomtrace doctor --json`")
NO_TRACEPOINT = ("the kernel has no tracepoint oom:mark_victim", "it came with Linux 4.14")
INLINED = (
    "oom_kill_process is not in /proc/kallsyms",
    "the compiler has inlined it, or CONFIG_KALLSYMS is off",
)
