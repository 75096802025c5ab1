# SPDX-License-Identifier: Apache-2.0
"""What the running kernel offers to a tracer: observed first, decided on elsewhere (plan.py)."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ooMtrace.kernel import bpf_syscall
from ooMtrace.kernel.build import BuildStore, read, read_build
from ooMtrace.kernel.cgroup_mounts import CgroupMounts, read_cgroup_mounts
from ooMtrace.kernel.offsets import Offsets
from ooMtrace.kernel.perf_syscall import perf_error
from ooMtrace.kernel.surroundings import Surroundings, observe_surroundings
from ooMtrace.settings import Level

CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_SYSLOG, CAP_PERFMON, CAP_BPF = 19, 21, 34, 38, 39

KMSG = os.makedev(1, 11)
"""Device number of /dev/kmsg (Documentation/admin-guide/devices.txt)."""

HOST_PIDS = "pid:[4026531836]"
"""The initial pid namespace has a fixed inode number (PROC_PID_INIT_INO, since 98f842e675f9 in 3.8)."""

TRACEPOINTS = ("oom/mark_victim", "signal/signal_generate", "cgroup/cgroup_mkdir")
MEMORY_HIERARCHY = re.compile(rb"^([0-9]{1,9}):(?:[^:\n]+,)?memory(?:,[^:\n]+)?:", re.MULTILINE)
FORMAT_FIELD = re.compile(r"field:(?P<decl>[^;]+);\s*offset:(?P<offset>[0-9]{1,9});\s*size:(?P<size>[0-9]{1,9});")


@dataclass(frozen=True, slots=True)
class Features:
    """One kernel, as one user of it sees it.

    Attributes:
        release: `uname -r`.
        machine: `uname -m`.
        capabilities: The effective capabilities, as a bit mask.
        lockdown: The active mode of /sys/kernel/security/lockdown; "" if there is no such file.
        btf_error: Why there is no type information; "" if there is.
        offsets: Offsets found in BTF; None without BTF.
        mark_victim: Types of the raw tracepoint's arguments; None without BTF.
        cgroup_mkdir: The same of that tracepoint.
        kprobes: Whether the kernel has kprobes.
        fentry_error: Why fentry on oom_kill_process is unavailable; "" if it is available.
        symbols: Start and end address of the symbols in build.SYMBOLS that exist; (0, 0) where addresses are hidden.
        formats: Tracepoint -> field -> (offset, size) in bytes, from tracefs; empty where tracefs cannot be read.
        possible_cpus: One more than the highest CPU number that may ever be online.
        page_size: In bytes.
        kmsg_error: Why /dev/kmsg cannot be opened for reading; "" if it can.
        dmesg_restrict: Whether reading the kernel log requires CAP_SYSLOG.
        bcc_error: Why BCC cannot be used; "" if it can. The caller fills it in: it is no property of the kernel.
        refused: Level -> why its programs cannot be loaded, and what to do. The caller fills it in after an attempt.
        tracefs_error: Why tracefs cannot be read; "" if it can.
        host_pids: Whether /proc lists processes by their pids in the initial pid namespace, as probe events do.
        oom_kill_counter: Whether /proc/vmstat counts OOM kills.
        cgroups: Mount points: `v1` of the memory controller's hierarchy, `v2` of the unified one.
        memory_cgroups: Version of the hierarchy that the memory controller is on: `v1`, `v2`, or "" if unknown.
        memory_hierarchy: Id of that hierarchy, 0 of version 2 (proc_pid_cgroup(5)); None if unknown.
        proc: Whether /proc is mounted, and so whether the others could be observed.
        surroundings: The user, the container and the limits that this process runs with.
        bpf_error: Why the kernel rejects even an empty program; "" if it does not.
        perf_error: Why perf_event_open(2) is not permitted; "" if it is.
        bcc_hint: What to do about `bcc_error`. The caller fills it in.
    """

    release: str
    machine: str
    capabilities: int
    lockdown: str = ""
    btf_error: str = ""
    offsets: Offsets | None = None
    mark_victim: tuple[str, ...] | None = None
    cgroup_mkdir: tuple[str, ...] | None = None
    kprobes: bool = False
    fentry_error: str = ""
    symbols: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    formats: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)
    possible_cpus: int = 1
    page_size: int = 4096
    kmsg_error: str = ""
    dmesg_restrict: bool = False
    bcc_error: str = ""
    refused: Mapping[Level, tuple[str, str]] = field(default_factory=dict)
    tracefs_error: str = ""
    host_pids: bool = True
    oom_kill_counter: bool = False
    cgroups: Mapping[str, str] = field(default_factory=dict)
    memory_cgroups: str = ""
    memory_hierarchy: int | None = None
    proc: bool = field(default=True, compare=False)
    surroundings: Surroundings = field(default_factory=Surroundings)
    bpf_error: str = ""
    perf_error: str = ""
    bcc_hint: str = ""

    def can_load_bpf(self) -> bool:
        """Check for CAP_SYS_ADMIN or, since 5.8, CAP_BPF together with CAP_PERFMON (capabilities(7))."""
        return self.has(CAP_SYS_ADMIN) or (self.has(CAP_BPF) and self.has(CAP_PERFMON))

    def is_64_bit(self) -> bool:
        """Return whether `uname -m` names a 64-bit architecture; 32-bit ones have no 64 in their names."""
        return "64" in self.machine or self.machine in ("s390x", "alpha")

    def has(self, capability: int) -> bool:
        """Return whether a capability is in the effective set."""
        return bool(self.capabilities >> capability & 1)


def observe(
    proc: Path = Path("/proc"), sys: Path = Path("/sys"), dev: Path = Path("/dev"), store: BuildStore | None = None
) -> Features:
    """Observe the running kernel; never fails: what cannot be read counts as not offered.

    Args:
        proc: Where procfs is mounted.
        sys: Where sysfs is.
        dev: Where the devices are.
        store: Knows what is the same in each boot.
    """
    uname = os.uname()
    types, symbols = read_build(proc, sys, store)
    mounts = read_cgroup_mounts(proc)
    memory = mounts.memory_hierarchy()
    return Features(
        release=uname.release,
        machine=uname.machine,
        capabilities=_capabilities(proc),
        proc=(proc / "self").exists(),
        lockdown=_lockdown(sys),
        btf_error=types.error,
        offsets=types.offsets,
        mark_victim=types.mark_victim,
        cgroup_mkdir=types.cgroup_mkdir,
        kprobes=(sys / "bus/event_source/devices/kprobe").exists(),
        fentry_error=bpf_syscall.fentry_error(types.oom_kill_process),
        symbols=symbols,
        formats={name: parse_format(read(sys / f"kernel/tracing/events/{name}/format")) for name in TRACEPOINTS},
        possible_cpus=_last_cpu(read(sys / "devices/system/cpu/possible")) + 1,
        page_size=os.sysconf("SC_PAGE_SIZE"),
        kmsg_error=_open_error(dev / "kmsg", device=KMSG),
        dmesg_restrict=read(proc / "sys/kernel/dmesg_restrict").strip() == b"1",
        tracefs_error=_open_error(sys / "kernel/tracing/events"),
        host_pids=_link(proc / "self/ns/pid") == HOST_PIDS,
        oom_kill_counter=b"\noom_kill " in read(proc / "vmstat"),
        cgroups=_mount_points(mounts),
        memory_cgroups=f"v{memory.version}" if memory else "",
        memory_hierarchy=_memory_hierarchy(read(proc / "self/cgroup")),
        surroundings=observe_surroundings(proc=proc, sys=sys),
        bpf_error=bpf_syscall.load_error(),
        perf_error=perf_error(),
    )


def _open_error(path: Path, *, device: int = 0) -> str:
    """Open it: only that applies permissions, capabilities and a container's device list. Return why it failed, or "".

    A container may have a pipe or a console in place of a device.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return error.strerror or str(error)
    status = os.fstat(fd)
    os.close(fd)
    is_other = stat.S_ISFIFO(status.st_mode) or (stat.S_ISCHR(status.st_mode) and status.st_rdev != device)
    return "not the expected device" if is_other else ""


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:  # a /proc of another pid namespace does not list this process
        return ""


def _mount_points(mounts: CgroupMounts) -> dict[str, str]:
    """Return version -> mount point, as text that JSON can carry: a mount point may hold any bytes."""
    found = {"v1": mounts.v1, "v2": mounts.v2}
    return {version: os.fsencode(path).decode(errors="backslashreplace") for version, path in found.items() if path}


def _capabilities(proc: Path) -> int:
    found = re.search(rb"^CapEff:\s*([0-9a-f]+)$", read(proc / "self/status"), re.MULTILINE)
    return int(found[1], 16) if found else 0


def _lockdown(sys: Path) -> str:
    found = re.search(rb"\[(\w+)\]", read(sys / "kernel/security/lockdown"))
    return found[1].decode() if found else ""


def _memory_hierarchy(cgroup: bytes) -> int | None:
    """Parse /proc/self/cgroup: the memory controller is on version 2 if no hierarchy of version 1 has it."""
    found = MEMORY_HIERARCHY.search(cgroup)
    if found:
        return int(found[1])
    return 0 if re.search(rb"^0::", cgroup, re.MULTILINE) else None


def _last_cpu(cpus: bytes) -> int:
    """Return the last number of a list such as `0-3,8`; 0 if there is none."""
    numbers = re.findall(rb"[0-9]{1,9}", cpus)
    return int(numbers[-1]) if numbers else 0


def parse_format(text: bytes) -> dict[str, tuple[int, int]]:
    """Parse a tracepoint's format file (Documentation/trace/events.rst): field -> offset and size in bytes."""
    fields = {}
    for found in FORMAT_FIELD.finditer(text.decode("ascii", "replace")):
        name = found["decl"].split()[-1].split("[")[0]
        fields[name] = (int(found["offset"]), int(found["size"]))
    return fields
