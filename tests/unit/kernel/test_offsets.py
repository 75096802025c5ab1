# SPDX-License-Identifier: Apache-2.0
"""From BTF to the macros of the probes: renamed, moved, resized and missing members."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.btf_builder import BtfBuilder, add_members

from ooMtrace.kernel.btf import Btf
from ooMtrace.kernel.features import Features
from ooMtrace.kernel.offsets import NAMES, Offsets, find_offsets
from ooMtrace.kernel.plan import FORMAT_MACROS, plan
from ooMtrace.settings import Settings

BPF = Path(__file__).parents[3] / "bpf"

MEMBERS = """
TASK_PID task_struct.pid 1264 4
TASK_TGID task_struct.tgid 1268 4
TASK_COMM task_struct.comm 1752 16
TASK_MM task_struct.mm 1136 8
TASK_SIGNAL task_struct.signal 1848 8
TASK_GROUP_LEADER task_struct.group_leader 1328 8
TASK_REAL_PARENT task_struct.real_parent 1280 8
TASK_REAL_CRED task_struct.real_cred 1728 8
TASK_THREAD_NODE task_struct.thread_node 1440 16
TASK_CGROUPS task_struct.cgroups 2376 8
TASK_NSPROXY task_struct.nsproxy 1840 8
TASK_THREAD_PID task_struct.thread_pid 1368 8
TASK_START_BOOTTIME task_struct.start_boottime 1560 8
SIGNAL_THREAD_HEAD signal_struct.thread_head 16 16
SIGNAL_OOM_SCORE_ADJ signal_struct.oom_score_adj 1058 2
SIGNAL_NR_THREADS signal_struct.nr_threads 8 4
SIGNAL_OOM_MM signal_struct.oom_mm 1064 8
CRED_UID cred.uid 8 4
MM_RSS_STAT mm_struct.rss_stat 960 160
MM_PGTABLES_BYTES mm_struct.pgtables_bytes 168 8
MM_TOTAL_VM mm_struct.total_vm 360 8
MM_HIWATER_RSS mm_struct.hiwater_rss 344 8
PID_LEVEL pid.level 4 4
PID_NUMBERS pid.numbers 144 0
UPID_NR upid.nr 0 4
UPID_NS upid.ns 8 8
PID_NS_INUM pid_namespace.ns.inum 136 4
NSPROXY_UTS_NS nsproxy.uts_ns 8 8
NSPROXY_NET_NS nsproxy.net_ns 40 8
NET_INUM net.ns.inum 176 4
UTS_INUM uts_namespace.ns.inum 432 4
UTS_NODENAME uts_namespace.name.nodename 65 65
CSS_SET_DFL_CGRP css_set.dfl_cgrp 112 8
CSS_CGROUP cgroup_subsys_state.cgroup 0 8
CSS_PARENT cgroup_subsys_state.parent 184 8
CGROUP_KN cgroup.kn 256 8
CGROUP_ROOT cgroup.root 696 8
ROOT_HIERARCHY_ID cgroup_root.hierarchy_id 12 4
KN_ID kernfs_node.id 96 8
KN_NAME kernfs_node.name 16 8
KN_PARENT kernfs_node.__parent 8 8
MEMCG_MEMORY_USAGE mem_cgroup.memory.usage 256 8
MEMCG_MEMORY_MAX mem_cgroup.memory.max 416 8
MEMCG_MEMORY_HIGH mem_cgroup.memory.high 408 8
MEMCG_MEMORY_WATERMARK mem_cgroup.memory.watermark 368 8
MEMCG_SWAP_USAGE mem_cgroup.swap.usage 448 8
MEMCG_SWAP_MAX mem_cgroup.swap.max 608 8
MEMCG_SWAPPINESS mem_cgroup.swappiness 852 4
MEMCG_EVENTS mem_cgroup.memory_events 1032 72
MEMCG_OOM_GROUP mem_cgroup.oom_group 848 1
OC_MEMCG oom_control.memcg 16 8
OC_GFP_MASK oom_control.gfp_mask 24 4
OC_ORDER oom_control.order 28 4
OC_TOTALPAGES oom_control.totalpages 32 8
OC_CHOSEN oom_control.chosen 40 8
OC_CHOSEN_POINTS oom_control.chosen_points 48 8
OC_CONSTRAINT oom_control.constraint 56 4
TASK_FILES task_struct.files 1824 8
TASK_FS task_struct.fs 1816 8
SIGNAL_LIVE signal_struct.live 4 4
SIGNAL_MAXRSS signal_struct.maxrss 600 8
MM_ARG_START mm_struct.arg_start 480 8
MM_ARG_END mm_struct.arg_end 488 8
MM_ENV_START mm_struct.env_start 496 8
MM_ENV_END mm_struct.env_end 504 8
MM_EXE_FILE mm_struct.exe_file 1312 8
FS_ROOT_DENTRY fs_struct.root.dentry 32 8
FS_ROOT_MNT fs_struct.root.mnt 24 8
FS_PWD_DENTRY fs_struct.pwd.dentry 48 8
FS_PWD_MNT fs_struct.pwd.mnt 40 8
DENTRY_PARENT dentry.d_parent 24 8
DENTRY_NAME dentry.d_name.name 40 8
VFSMOUNT_ROOT vfsmount.mnt_root 0 8
MOUNT_MNT mount.mnt 32 32
MOUNT_PARENT mount.mnt_parent 16 8
MOUNT_MOUNTPOINT mount.mnt_mountpoint 24 8
FILES_FDT files_struct.fdt 32 8
FDT_FD fdtable.fd 8 8
FDT_MAX_FDS fdtable.max_fds 0 4
FILE_INODE file.f_inode 32 8
FILE_PRIVATE file.private_data 24 8
FILE_PATH_DENTRY file.f_path.dentry 72 8
FILE_PATH_MNT file.f_path.mnt 64 8
INODE_MODE inode.i_mode 0 2
INODE_FLAGS inode.i_flags 12 4
SOCKET_ALLOC_INODE socket_alloc.vfs_inode 128 616
SOCKET_SK socket.sk 24 8
SOCKET_OPS socket.ops 32 8
SOCKET_TYPE socket.type 4 2
PROTO_OPS_FAMILY proto_ops.family 0 4
SK_PROTOCOL sock.sk_protocol 532 2
SK_FAMILY sock.__sk_common.skc_family 16 2
SK_STATE sock.__sk_common.skc_state 18 1
SK_NUM sock.__sk_common.skc_num 14 2
SK_DPORT sock.__sk_common.skc_dport 12 2
SK_RCV_SADDR sock.__sk_common.skc_rcv_saddr 4 4
SK_DADDR sock.__sk_common.skc_daddr 0 4
SK_V6_RCV_SADDR sock.__sk_common.skc_v6_rcv_saddr 72 16
SK_V6_DADDR sock.__sk_common.skc_v6_daddr 56 16
UNIX_ADDR unix_sock.addr 784 8
UNIX_PEER unix_sock.peer 872 8
UNIX_ADDRESS_LEN unix_address.len 4 4
UNIX_ADDRESS_NAME unix_address.name 8 0
"""
"""Linux 6.18 on x86_64: macro, member, offset, size."""

SPLIT = tuple(line.split() for line in MEMBERS.split("\n") if line)
OTHERS = (("css_set.subsys", 0, 96), ("percpu_counter.count", 8, 8), ("percpu_counter.counters", 32, 8))
EVENTS = {
    "MEMCG_LOW": 0,
    "MEMCG_HIGH": 1,
    "MEMCG_MAX": 2,
    "MEMCG_OOM": 3,
    "MEMCG_OOM_KILL": 4,
    "MEMCG_OOM_GROUP_KILL": 5,
}

Change = dict[str, tuple[str, int, int] | None]


def kernel(changes: Change | None = None, events: dict[str, int] | None = None, per_cpu: int = 40) -> Btf:
    """Linux 6.18 with some members changed (path -> another path, offset, size) or taken away."""
    members = {path: (path, int(offset), int(size)) for _, path, offset, size in SPLIT}
    members |= {member[0]: member for member in OTHERS}
    members |= changes or {}
    types = BtfBuilder()
    kept = [member for member in members.values() if member]
    add_members(types, [member for member in kept if not member[0].startswith(("percpu_counter.", "upid."))])
    for name, size in (("percpu_counter", per_cpu), ("upid", 16)):
        inner = [
            (path.split(".")[1], types.integer(width), at) for path, at, width in kept if path.startswith(f"{name}.")
        ]
        types.struct(name, size, inner)
    types.enum("cgroup_subsys_id", {"cpuset_cgrp_id": 0, "memory_cgrp_id": 4})
    types.enum("memcg_memory_event", EVENTS if events is None else events)
    return Btf(types.blob(), NAMES)


def macros(**arguments: object) -> dict[str, int]:
    return find_offsets(kernel(**arguments)).macros  # type: ignore[arg-type]


def test_a_known_kernel_gives_every_macro_and_lacks_nothing():
    found = find_offsets(kernel())

    offsets = {f"OFF_{macro}": int(offset) for macro, _, offset, _ in SPLIT}
    assert found == Offsets(
        macros={
            **offsets,
            "SIZE_RSS_COUNTER": 40,
            "OFF_RSS_COUNT": 8,
            "OFF_PERCPU_COUNT": 8,
            "OFF_PERCPU_COUNTERS": 32,
            "OFF_CSS_SET_SUBSYS_MEMORY": 32,
            "MEMCG_HIGH": 1,
            "MEMCG_MAX": 2,
            "MEMCG_OOM": 3,
            "MEMCG_OOM_KILL": 4,
            "MEMCG_OOM_GROUP_KILL": 5,
            "SIZE_UPID": 16,
        },
        lacking=(),
    )


@pytest.mark.parametrize(
    ("macro", "here", "elsewhere"),
    [
        ("OFF_KN_PARENT", "kernfs_node.__parent", "kernfs_node.parent"),
        ("OFF_TASK_START_BOOTTIME", "task_struct.start_boottime", "task_struct.real_start_time"),
        ("OFF_MEMCG_MEMORY_HIGH", "mem_cgroup.memory.high", "mem_cgroup.high"),
    ],
)
def test_a_member_is_found_by_the_name_that_other_kernels_give_it(macro, here, elsewhere):
    moved: Change = {here: (elsewhere, 4000, 8)}

    assert macros(changes=moved)[macro] == 4000


def test_the_name_that_stands_first_wins_where_both_are_there():
    assert macros(changes={"more": ("kernfs_node.parent", 48, 8)})["OFF_KN_PARENT"] == 48


PATH = {"OFF_KN_ID", "OFF_KN_NAME", "OFF_KN_PARENT"}
FILE_PATHS = frozenset({"OFF_FS_ROOT_DENTRY", "OFF_FS_PWD_DENTRY", "OFF_FILE_PATH_DENTRY"})
USELESS_WITHOUT = {
    **dict.fromkeys(("DENTRY_PARENT", "DENTRY_NAME", "VFSMOUNT_ROOT"), FILE_PATHS),
    **dict.fromkeys(("MOUNT_MNT", "MOUNT_PARENT", "MOUNT_MOUNTPOINT"), FILE_PATHS),
    "FDT_MAX_FDS": {"OFF_FDT_FD"},
    "FILE_INODE": {"OFF_FDT_FD"},
    "INODE_MODE": {"OFF_FDT_FD"},
    "SOCKET_ALLOC_INODE": {"OFF_SOCKET_OPS"},
    "PROTO_OPS_FAMILY": {"OFF_SOCKET_OPS"},
    "MM_ARG_END": {"OFF_MM_ARG_START"},
    "SK_RCV_SADDR": {"OFF_SK_DADDR"},
    "SK_V6_RCV_SADDR": {"OFF_SK_V6_DADDR"},
    "UNIX_ADDRESS_LEN": {"OFF_UNIX_ADDR"},
    "UNIX_ADDRESS_NAME": {"OFF_UNIX_ADDR"},
    "MM_RSS_STAT": {"SIZE_RSS_COUNTER", "OFF_RSS_COUNT", "OFF_PERCPU_COUNT", "OFF_PERCPU_COUNTERS"},
    "KN_NAME": PATH,
    "KN_PARENT": PATH,
    "PID_NUMBERS": {"OFF_PID_LEVEL"},
    "MEMCG_EVENTS": {"MEMCG_HIGH", "MEMCG_MAX", "MEMCG_OOM", "MEMCG_OOM_KILL", "MEMCG_OOM_GROUP_KILL"},
}


@pytest.mark.parametrize(("macro", "path"), [(row[0], row[1]) for row in SPLIT])
def test_a_missing_member_is_absent_with_the_members_that_depend_on_it(macro, path):
    with_it, without_it = macros(), macros(changes={path: None})

    changed = {name for name in with_it if with_it[name] != without_it[name]}
    assert without_it[f"OFF_{macro}"] == -1
    assert changed == {f"OFF_{macro}"} | USELESS_WITHOUT.get(macro, set())


ANY_SIZE = ("MM_RSS_STAT", "PID_NUMBERS", "MEMCG_EVENTS", "MOUNT_MNT", "SOCKET_ALLOC_INODE", "UNIX_ADDRESS_NAME")


@pytest.mark.parametrize(("macro", "path"), [(row[0], row[1]) for row in SPLIT if row[0] not in ANY_SIZE])
def test_a_member_of_another_size_is_absent(macro, path):
    assert macros(changes={path: (path, 64, 12)})[f"OFF_{macro}"] == -1


@pytest.mark.parametrize(
    ("path", "useless"),
    [
        ("kernfs_node.__parent", PATH),
        ("kernfs_node.name", PATH),
        ("pid.numbers", USELESS_WITHOUT["PID_NUMBERS"]),
        ("mem_cgroup.memory_events", USELESS_WITHOUT["MEMCG_EVENTS"]),
    ],
)
def test_members_that_depend_on_a_missing_one_are_absent(path, useless):
    found = macros(changes={path: None})

    assert {found[name] for name in useless} == {-1}


@pytest.mark.parametrize("macro", ANY_SIZE[1:])
def test_a_member_that_may_have_any_size_is_read(macro):
    path = next(row[1] for row in SPLIT if row[0] == macro)

    assert macros(changes={path: (path, 64, 48)})[f"OFF_{macro}"] == 64


def test_these_members_are_required():
    required = (
        "task_struct.pid",
        "task_struct.tgid",
        "task_struct.comm",
        "task_struct.mm",
        "task_struct.signal",
        "task_struct.group_leader",
        "task_struct.real_parent",
        "task_struct.real_cred",
        "task_struct.thread_node",
        "signal_struct.thread_head",
        "signal_struct.oom_score_adj",
        "signal_struct.nr_threads",
        "cred.uid",
        "mm_struct.rss_stat",
        "mm_struct.pgtables_bytes",
        "mm_struct.total_vm",
        "mm_struct.hiwater_rss",
    )

    for _, path, _, _ in SPLIT:
        expected = (path,) if path in required else ()
        assert find_offsets(kernel({path: None})).lacking == expected


def test_a_required_member_of_another_size_is_lacking():
    assert find_offsets(kernel({"task_struct.comm": ("task_struct.comm", 1752, 32)})).lacking == ("task_struct.comm",)


def test_an_empty_btf_lacks_all_required_members():
    nothing = find_offsets(Btf(BtfBuilder().blob(), NAMES))

    assert len(nothing.lacking) == 17
    assert nothing.macros["OFF_TASK_PID"] == nothing.macros["MEMCG_OOM_KILL"] == -1
    assert nothing.macros["OFF_CSS_SET_SUBSYS_MEMORY"] == -1
    assert nothing.macros["SIZE_UPID"] == 0


def test_counters_before_linux_6_2_are_four_plain_numbers():
    found = macros(changes={"mm_struct.rss_stat": ("mm_struct.rss_stat", 960, 32)})

    assert found["OFF_MM_RSS_STAT"] == 960
    assert found["SIZE_RSS_COUNTER"] == 8
    assert found["OFF_RSS_COUNT"] == 0
    assert found["OFF_PERCPU_COUNT"] == -1
    assert found["OFF_PERCPU_COUNTERS"] == -1


def test_per_cpu_counters_are_recognised_by_their_size_whatever_it_is():
    debug = {
        "percpu_counter.count": ("percpu_counter.count", 72, 8),
        "percpu_counter.counters": ("percpu_counter.counters", 96, 8),
    }
    found = macros(changes={"mm_struct.rss_stat": ("mm_struct.rss_stat", 960, 416), **debug}, per_cpu=104)

    assert found["SIZE_RSS_COUNTER"] == 104
    assert found["OFF_RSS_COUNT"] == found["OFF_PERCPU_COUNT"] == 72
    assert found["OFF_PERCPU_COUNTERS"] == 96


@pytest.mark.parametrize(
    "changes",
    [
        {"mm_struct.rss_stat": ("mm_struct.rss_stat", 960, 200)},
        {"mm_struct.rss_stat": ("mm_struct.rss_stat", 960, 40)},
        {"mm_struct.rss_stat": ("mm_struct.rss_stat", 960, 33)},
        {"mm_struct.rss_stat": ("mm_struct.rss_stat", 960, 163)},
        {"percpu_counter.count": None},
    ],
)
def test_counters_of_an_unknown_kind_are_lacking(changes):
    found = find_offsets(kernel(changes))

    assert found.lacking == ("mm_struct.rss_stat",)
    assert found.macros["OFF_MM_RSS_STAT"] == -1


def test_an_event_that_an_older_kernel_lacks_is_absent():
    older = {"MEMCG_LOW": 0, "MEMCG_HIGH": 1, "MEMCG_MAX": 2, "MEMCG_OOM": 3, "MEMCG_OOM_KILL": 4}

    found = macros(events=older)

    assert found["MEMCG_OOM_KILL"] == 4
    assert found["MEMCG_OOM_GROUP_KILL"] == -1


def test_a_kernel_without_memory_cgroups_has_no_offset_for_them():
    found = macros(changes={"css_set.subsys": None})

    assert found["OFF_CSS_SET_SUBSYS_MEMORY"] == -1


OURS = re.compile(
    r"\b(?:OFF|SIZE|MEMCG|MARK_VICTIM|SIGNAL_GENERATE|CGROUP_MKDIR|WITH)_[A-Z0-9_]+\b"
    r"|\b(?:PER_CPU_OFFSET|NR_CPUS|PAGE_SIZE|OOM_KILL_(?:PROCESS|ONE)(?:_SIZE)?|ENVIRONMENT|MEMORY_HIERARCHY)\b"
    r"|\b(?:SIGKILL_ALL|CGROUP_KILL_WRITE(?:_SIZE)?)\b"
)


def included(name: str) -> dict[str, str]:
    """The text of a file in bpf/ and of every header beside it that it includes, by name."""
    found = {name: (BPF / name).read_text()}
    for header in re.findall(r'#include "(\w+\.h)"', found[name]):
        found |= included(header)
    return found


def asked_for(program: str) -> set[str]:
    """The macros that a BPF program and its headers use and do not define themselves."""
    text = "".join(included(program).values())
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
    killers = {f"KILLER_{n}_{half}" for n in re.findall(r"IS_KILLER\((\d+)\)", text) for half in ("LOW", "HIGH")}
    return killers | set(OURS.findall(text)) - set(re.findall(r"#define\s+(\w+)", text))


def provided(settings: Settings | None = None, **changes: object) -> set[str]:
    formats = {tracepoint: dict.fromkeys(names, (8, 4)) for tracepoint, names in FORMAT_MACROS.items()}
    kernel_6_18: dict[str, object] = {
        "release": "6.18.0",
        "machine": "x86_64",
        "capabilities": 1 << 21,
        "offsets": find_offsets(kernel()),
        "mark_victim": ("task_struct *", "uid_t"),
        "symbols": {"oom_kill_process": (1, 2)},
        "formats": formats,
    }
    chosen = plan(Features(**{**kernel_6_18, **changes}), settings or Settings())  # type: ignore[arg-type]
    return {*chosen.macros, *chosen.addresses}


def test_exactly_the_macros_that_the_probes_use_are_provided():
    all_ = Settings(env=("A",), lifecycle=True)
    either = provided(all_, kprobes=True) | provided(all_, kprobes=False)

    assert asked_for("oomtrace.bpf.c") == either


def test_exactly_the_macros_that_level_minimal_uses_are_provided():
    # events.h asks whether ENVIRONMENT is defined for the size of struct context, which this level does not send.
    assert asked_for("minimal.bpf.c") - {"ENVIRONMENT"} == provided(offsets=None, btf_error="none")
