# SPDX-License-Identifier: Apache-2.0
"""Offsets of the members that the probes read: the table that turns BTF into macros for `bpf/kernel.h`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ooMtrace.kernel.btf import Btf

ABSENT = -1


@dataclass(frozen=True, slots=True)
class Field:
    """One member that the probes read.

    Attributes:
        macro: Its name in bpf/kernel.h, without `OFF_`.
        paths: Its names; kernels rename members, the first that exists counts.
        size: The size in bytes that the probes assume; a member of another size is treated as absent. 0: any size.
        required: Whether levels `reduced` and `full` are impossible without it.
    """

    macro: str
    paths: tuple[str, ...]
    size: int = 8
    required: bool = False


def _required(macro: str, path: str, size: int = 8) -> Field:
    return Field(macro, (path,), size, required=True)


FIELDS = (
    _required("TASK_PID", "task_struct.pid", 4),
    _required("TASK_TGID", "task_struct.tgid", 4),
    _required("TASK_COMM", "task_struct.comm", 16),
    _required("TASK_MM", "task_struct.mm"),
    _required("TASK_SIGNAL", "task_struct.signal"),
    _required("TASK_GROUP_LEADER", "task_struct.group_leader"),
    _required("TASK_REAL_PARENT", "task_struct.real_parent"),
    _required("TASK_REAL_CRED", "task_struct.real_cred"),
    _required("TASK_THREAD_NODE", "task_struct.thread_node", 16),
    Field("TASK_CGROUPS", ("task_struct.cgroups",)),
    Field("TASK_FILES", ("task_struct.files",)),
    Field("TASK_FS", ("task_struct.fs",)),
    Field("TASK_NSPROXY", ("task_struct.nsproxy",)),
    Field("TASK_THREAD_PID", ("task_struct.thread_pid",)),
    # Renamed by cf25e24db61c in 5.5.
    Field("TASK_START_BOOTTIME", ("task_struct.start_boottime", "task_struct.real_start_time")),
    _required("SIGNAL_THREAD_HEAD", "signal_struct.thread_head", 16),
    _required("SIGNAL_OOM_SCORE_ADJ", "signal_struct.oom_score_adj", 2),
    _required("SIGNAL_NR_THREADS", "signal_struct.nr_threads", 4),
    Field("SIGNAL_LIVE", ("signal_struct.live",), 4),
    Field("SIGNAL_MAXRSS", ("signal_struct.maxrss",)),
    Field("SIGNAL_OOM_MM", ("signal_struct.oom_mm",)),
    _required("CRED_UID", "cred.uid", 4),
    _required("MM_RSS_STAT", "mm_struct.rss_stat", 0),
    _required("MM_PGTABLES_BYTES", "mm_struct.pgtables_bytes"),
    _required("MM_TOTAL_VM", "mm_struct.total_vm"),
    _required("MM_HIWATER_RSS", "mm_struct.hiwater_rss"),
    Field("MM_ARG_START", ("mm_struct.arg_start",)),
    Field("MM_ARG_END", ("mm_struct.arg_end",)),
    Field("MM_ENV_START", ("mm_struct.env_start",)),
    Field("MM_ENV_END", ("mm_struct.env_end",)),
    Field("MM_EXE_FILE", ("mm_struct.exe_file",)),
    Field("FS_ROOT_DENTRY", ("fs_struct.root.dentry",)),
    Field("FS_ROOT_MNT", ("fs_struct.root.mnt",)),
    Field("FS_PWD_DENTRY", ("fs_struct.pwd.dentry",)),
    Field("FS_PWD_MNT", ("fs_struct.pwd.mnt",)),
    Field("DENTRY_PARENT", ("dentry.d_parent",)),
    Field("DENTRY_NAME", ("dentry.d_name.name",)),
    Field("VFSMOUNT_ROOT", ("vfsmount.mnt_root",)),
    Field("MOUNT_MNT", ("mount.mnt",), 0),
    Field("MOUNT_PARENT", ("mount.mnt_parent",)),
    Field("MOUNT_MOUNTPOINT", ("mount.mnt_mountpoint",)),
    Field("FILES_FDT", ("files_struct.fdt",)),
    Field("FDT_FD", ("fdtable.fd",)),
    Field("FDT_MAX_FDS", ("fdtable.max_fds",), 4),
    Field("FILE_INODE", ("file.f_inode",)),
    Field("FILE_PRIVATE", ("file.private_data",)),
    Field("FILE_PATH_DENTRY", ("file.f_path.dentry",)),
    Field("FILE_PATH_MNT", ("file.f_path.mnt",)),
    Field("INODE_MODE", ("inode.i_mode",), 2),
    Field("INODE_FLAGS", ("inode.i_flags",), 4),
    Field("SOCKET_ALLOC_INODE", ("socket_alloc.vfs_inode",), 0),
    Field("SOCKET_SK", ("socket.sk",)),
    Field("SOCKET_OPS", ("socket.ops",)),
    Field("SOCKET_TYPE", ("socket.type",), 2),
    Field("PROTO_OPS_FAMILY", ("proto_ops.family",), 4),
    # A bit field before bf9765145b85 in 5.6.
    Field("SK_PROTOCOL", ("sock.sk_protocol",), 2),
    Field("SK_FAMILY", ("sock.__sk_common.skc_family",), 2),
    Field("SK_STATE", ("sock.__sk_common.skc_state",), 1),
    Field("SK_NUM", ("sock.__sk_common.skc_num",), 2),
    Field("SK_DPORT", ("sock.__sk_common.skc_dport",), 2),
    Field("SK_RCV_SADDR", ("sock.__sk_common.skc_rcv_saddr",), 4),
    Field("SK_DADDR", ("sock.__sk_common.skc_daddr",), 4),
    Field("SK_V6_RCV_SADDR", ("sock.__sk_common.skc_v6_rcv_saddr",), 16),
    Field("SK_V6_DADDR", ("sock.__sk_common.skc_v6_daddr",), 16),
    Field("UNIX_ADDR", ("unix_sock.addr",)),
    Field("UNIX_PEER", ("unix_sock.peer",)),
    Field("UNIX_ADDRESS_LEN", ("unix_address.len",), 4),
    Field("UNIX_ADDRESS_NAME", ("unix_address.name",), 0),
    Field("PID_LEVEL", ("pid.level",), 4),
    Field("PID_NUMBERS", ("pid.numbers",), 0),
    Field("UPID_NR", ("upid.nr",), 4),
    Field("UPID_NS", ("upid.ns",)),
    Field("PID_NS_INUM", ("pid_namespace.ns.inum",), 4),
    Field("NSPROXY_UTS_NS", ("nsproxy.uts_ns",)),
    Field("NSPROXY_NET_NS", ("nsproxy.net_ns",)),
    Field("NET_INUM", ("net.ns.inum",), 4),
    Field("UTS_INUM", ("uts_namespace.ns.inum",), 4),
    Field("UTS_NODENAME", ("uts_namespace.name.nodename",), 65),
    Field("CSS_SET_DFL_CGRP", ("css_set.dfl_cgrp",)),
    Field("CSS_CGROUP", ("cgroup_subsys_state.cgroup",)),
    Field("CSS_PARENT", ("cgroup_subsys_state.parent",)),
    Field("CGROUP_KN", ("cgroup.kn",)),
    Field("CGROUP_ROOT", ("cgroup.root",)),
    Field("ROOT_HIERARCHY_ID", ("cgroup_root.hierarchy_id",), 4),
    Field("KN_ID", ("kernfs_node.id",)),
    Field("KN_NAME", ("kernfs_node.name",)),
    # Renamed by 633488947ef6 in 6.15.
    Field("KN_PARENT", ("kernfs_node.parent", "kernfs_node.__parent")),
    Field("MEMCG_MEMORY_USAGE", ("mem_cgroup.memory.usage",)),
    Field("MEMCG_MEMORY_MAX", ("mem_cgroup.memory.max",)),
    # Moved into the page counter by d1663a907b5e in 5.8.
    Field("MEMCG_MEMORY_HIGH", ("mem_cgroup.memory.high", "mem_cgroup.high")),
    Field("MEMCG_MEMORY_WATERMARK", ("mem_cgroup.memory.watermark",)),
    # On cgroup v1 the same counter is `memsw`: a union since bd0b230fe145 in 5.10.
    Field("MEMCG_SWAP_USAGE", ("mem_cgroup.swap.usage",)),
    Field("MEMCG_SWAP_MAX", ("mem_cgroup.swap.max",)),
    Field("MEMCG_SWAPPINESS", ("mem_cgroup.swappiness",), 4),
    Field("MEMCG_EVENTS", ("mem_cgroup.memory_events",), 0),
    Field("MEMCG_OOM_GROUP", ("mem_cgroup.oom_group",), 1),
    Field("OC_MEMCG", ("oom_control.memcg",)),
    Field("OC_GFP_MASK", ("oom_control.gfp_mask",), 4),
    Field("OC_ORDER", ("oom_control.order",), 4),
    Field("OC_TOTALPAGES", ("oom_control.totalpages",)),
    Field("OC_CHOSEN", ("oom_control.chosen",)),
    Field("OC_CHOSEN_POINTS", ("oom_control.chosen_points",)),
    Field("OC_CONSTRAINT", ("oom_control.constraint",), 4),
)

MEMCG_EVENTS = ("MEMCG_HIGH", "MEMCG_MAX", "MEMCG_OOM", "MEMCG_OOM_KILL", "MEMCG_OOM_GROUP_KILL")

FILE_PATH = tuple(
    f"OFF_{name}"
    for name in ("DENTRY_PARENT", "DENTRY_NAME", "VFSMOUNT_ROOT", "MOUNT_MNT", "MOUNT_PARENT", "MOUNT_MOUNTPOINT")
)

NEEDS = {
    "OFF_KN_ID": ("OFF_KN_PARENT", "OFF_KN_NAME"),
    "OFF_KN_PARENT": ("OFF_KN_NAME",),
    "OFF_KN_NAME": ("OFF_KN_PARENT",),
    "OFF_PID_LEVEL": ("OFF_PID_NUMBERS",),
    **dict.fromkeys(MEMCG_EVENTS, ("OFF_MEMCG_EVENTS",)),
    **dict.fromkeys(("OFF_FS_ROOT_DENTRY", "OFF_FILE_PATH_DENTRY", "OFF_FS_PWD_DENTRY"), FILE_PATH),
    "OFF_FDT_FD": ("OFF_FDT_MAX_FDS", "OFF_FILE_INODE", "OFF_INODE_MODE"),
    "OFF_SOCKET_OPS": ("OFF_SOCKET_ALLOC_INODE", "OFF_PROTO_OPS_FAMILY"),
    "OFF_MM_ARG_START": ("OFF_MM_ARG_END",),
    "OFF_SK_DADDR": ("OFF_SK_RCV_SADDR",),
    "OFF_SK_V6_DADDR": ("OFF_SK_V6_RCV_SADDR",),
    "OFF_UNIX_ADDR": ("OFF_UNIX_ADDRESS_LEN", "OFF_UNIX_ADDRESS_NAME"),
}
"""Macro -> others without which the probes would compute something wrong from it: then it is absent, too."""

RSS_COUNTERS = 4
LONG = 8

NAMES = (
    *sorted({path.split(".")[0] for field in FIELDS for path in field.paths}),
    "percpu_counter",
    "cgroup_subsys_id",
    "memcg_memory_event",
    "btf_trace_mark_victim",
    "btf_trace_signal_generate",
    "btf_trace_cgroup_mkdir",
    "oom_kill_process",
)
"""All names that find_offsets() and observe() look up in BTF."""


@dataclass(frozen=True, slots=True)
class Offsets:
    """The macros for bpf/kernel.h, and the required members that this kernel lacks."""

    macros: dict[str, int]
    lacking: tuple[str, ...]


def find_offsets(btf: Btf) -> Offsets:
    """Compute the macros of bpf/kernel.h: offsets in bytes, ABSENT for what this kernel does not have."""
    macros = {f"OFF_{field.macro}": _offset(btf, field) for field in FIELDS}
    macros.update(_rss(btf))
    macros.update(_memcg(btf))
    macros["SIZE_UPID"] = btf.size("upid") or 0
    lacking = [field.paths[0] for field in FIELDS if field.required and macros[f"OFF_{field.macro}"] == ABSENT]
    return Offsets(_consistent(macros), tuple(lacking))


def _offset(btf: Btf, field: Field) -> int:
    for path in field.paths:
        member = btf.member(path)
        if member and field.size in (0, member.size):
            return member.offset
    return ABSENT


def _consistent(macros: dict[str, int]) -> dict[str, int]:
    def usable(name: str) -> bool:
        return all(macros[other] != ABSENT for other in NEEDS.get(name, ()))

    return {name: value if usable(name) else ABSENT for name, value in macros.items()}


def _rss(btf: Btf) -> Iterator[tuple[str, int]]:
    """Yield the macros of the four counters in mm_struct.rss_stat: per-CPU counters since f1a7941243c1 in 6.2."""
    stat, count = btf.member("mm_struct.rss_stat"), btf.member("percpu_counter.count")
    size = stat.size // RSS_COUNTERS if stat and stat.size % RSS_COUNTERS == 0 else 0
    per_cpu = count if size == btf.size("percpu_counter") else None
    parts = btf.member("percpu_counter.counters") if per_cpu else None
    known = stat and (per_cpu or size == LONG)
    yield "OFF_MM_RSS_STAT", stat.offset if stat and known else ABSENT
    yield "SIZE_RSS_COUNTER", size if known else 0
    yield "OFF_RSS_COUNT", per_cpu.offset if per_cpu else 0
    yield "OFF_PERCPU_COUNT", per_cpu.offset if per_cpu else ABSENT
    yield "OFF_PERCPU_COUNTERS", parts.offset if parts else ABSENT


def _memcg(btf: Btf) -> Iterator[tuple[str, int]]:
    subsys, index = btf.member("css_set.subsys"), btf.enumerator("cgroup_subsys_id", "memory_cgrp_id")
    known = subsys is not None and index is not None
    yield "OFF_CSS_SET_SUBSYS_MEMORY", subsys.offset + 8 * index if known and subsys and index is not None else ABSENT
    for name in MEMCG_EVENTS:
        value = btf.enumerator("memcg_memory_event", name)
        yield name, ABSENT if value is None else value
