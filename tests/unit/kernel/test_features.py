# SPDX-License-Identifier: Apache-2.0
"""What is observed of a kernel through /proc and /sys, and that no content there makes it raise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.btf_builder import BtfBuilder

from ooMtrace.kernel.bpf_syscall import load_error
from ooMtrace.kernel.features import Features, observe
from ooMtrace.kernel.perf_syscall import perf_error
from ooMtrace.kernel.surroundings import Surroundings

KALLSYMS = b"""\
ffffffff81000000 T _text
ffffffff8123b000 t oom_kill_process
ffffffff8123b190 t __pfx_oom_kill_memcg_member
ffffffff8123b1a0 t oom_kill_memcg_member
ffffffff8123b250 T out_of_memory
ffffffff8132f9b0 t mem_cgroup_out_of_memory.cold
ffffffff8132fab0 t mem_cgroup_out_of_memory
ffffffff8132fbc0 T mem_cgroup_swapout
ffffffff81900000 t my_moom_callback
ffffffffc0000000 t moom_callback\t[sysrq]
ffffffff82000000 D __per_cpu_offset
"""

MARK_VICTIM = b"""\
name: mark_victim
ID: 612
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:int pid;\toffset:8;\tsize:4;\tsigned:1;
\tfield:__data_loc char[] comm;\toffset:12;\tsize:4;\tsigned:0;
\tfield:unsigned long total_vm;\toffset:16;\tsize:8;\tsigned:0;
\tfield:short oom_score_adj;\toffset:64;\tsize:2;\tsigned:1;

print fmt: "pid=%d comm=%s", REC->pid, __get_str(comm)
"""

SIGNAL_GENERATE = b"""\
format:
\tfield:int sig;\toffset:8;\tsize:4;\tsigned:1;
\tfield:char comm[16];\toffset:20;\tsize:16;\tsigned:0;
"""


class Machine:
    """Trees that stand in for /proc and /sys."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.sys, self.dev = folder / "proc", folder / "sys", folder / "dev"
        self.proc.mkdir()
        self.sys.mkdir()

    def put(self, path: str, content: bytes) -> Machine:
        file = self.proc.parent / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return self

    def observed(self) -> Features:
        return observe(self.proc, self.sys, self.dev)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_an_empty_tree_offers_nothing_and_does_not_raise(machine):
    seen = machine.observed()

    assert seen == Features(
        release=os.uname().release,
        machine=os.uname().machine,
        capabilities=0,
        btf_error=f"{machine.sys}/kernel/btf/vmlinux: No such file or directory",
        fentry_error="not described in BTF",
        formats={"oom/mark_victim": {}, "signal/signal_generate": {}, "cgroup/cgroup_mkdir": {}},
        possible_cpus=1,
        page_size=os.sysconf("SC_PAGE_SIZE"),
        kmsg_error="No such file or directory",
        tracefs_error="No such file or directory",
        host_pids=False,
        surroundings=Surroundings(os.geteuid(), sysfs=False),
        bpf_error=load_error(),
        perf_error=perf_error(),
    )


def test_a_symbol_has_its_start_and_the_start_of_the_next(machine):
    seen = machine.put("proc/kallsyms", KALLSYMS).observed()

    assert seen.symbols == {
        "oom_kill_process": (0xFFFFFFFF8123B000, 0xFFFFFFFF8123B190),
        "oom_kill_memcg_member": (0xFFFFFFFF8123B1A0, 0xFFFFFFFF8123B250),
        "out_of_memory": (0xFFFFFFFF8123B250, 0xFFFFFFFF8132F9B0),
        "mem_cgroup_out_of_memory": (0xFFFFFFFF8132FAB0, 0xFFFFFFFF8132FBC0),
        "__per_cpu_offset": (0xFFFFFFFF82000000, 0),
    }


def test_a_symbol_on_the_first_line_is_found(machine):
    seen = machine.put("proc/kallsyms", b"ffffffff81000000 t moom_callback\nffffffff81000040 t next\n").observed()

    assert seen.symbols == {"moom_callback": (0xFFFFFFFF81000000, 0xFFFFFFFF81000040)}


def test_symbols_with_hidden_addresses_are_listed_without_them(machine):
    hidden = b"0000000000000000 t oom_kill_process\n0000000000000000 T out_of_memory\n"

    assert machine.put("proc/kallsyms", hidden).observed().symbols == {
        "oom_kill_process": (0, 0),
        "out_of_memory": (0, 0),
    }


def test_fields_of_a_tracepoint_have_offset_and_size(machine):
    machine.put("sys/kernel/tracing/events/oom/mark_victim/format", MARK_VICTIM)
    machine.put("sys/kernel/tracing/events/signal/signal_generate/format", SIGNAL_GENERATE)

    assert machine.observed().formats == {
        "oom/mark_victim": {
            "common_type": (0, 2),
            "common_pid": (4, 4),
            "pid": (8, 4),
            "comm": (12, 4),
            "total_vm": (16, 8),
            "oom_score_adj": (64, 2),
        },
        "signal/signal_generate": {"sig": (8, 4), "comm": (20, 16)},
        "cgroup/cgroup_mkdir": {},
    }


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (b"[none] integrity confidentiality\n", "none"),
        (b"none [integrity] confidentiality\n", "integrity"),
        (b"none integrity [confidentiality]\n", "confidentiality"),
        (b"", ""),
    ],
)
def test_lockdown_is_the_mode_in_brackets(machine, content, mode):
    assert machine.put("sys/kernel/security/lockdown", content).observed().lockdown == mode


@pytest.mark.parametrize(
    ("content", "cpus"), [(b"0\n", 1), (b"0-3\n", 4), (b"0-3,8\n", 9), (b"0-127\n", 128), (b"\n", 1)]
)
def test_cpus_are_counted_to_the_highest_possible_number(machine, content, cpus):
    assert machine.put("sys/devices/system/cpu/possible", content).observed().possible_cpus == cpus


@pytest.mark.parametrize(
    ("mask", "able"),
    [
        ("0000000000000000", False),
        ("000001ffffffffff", True),
        (f"{1 << 21:016x}", True),
        (f"{1 << 38 | 1 << 39:016x}", True),
        (f"{1 << 38:016x}", False),
        (f"{1 << 39:016x}", False),
        ("000001ffffdfffff", True),
        ("0000003fffdfffff", False),
    ],
)
def test_loading_programs_requires_sys_admin_or_bpf_with_perfmon(machine, mask, able):
    status = f"Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t{mask}\nCapBnd:\t000001ffffffffff\n".encode()

    seen = machine.put("proc/self/status", status).observed()

    assert seen.capabilities == int(mask, 16)
    assert seen.can_load_bpf() is able


def test_kprobes_exist_if_perf_has_a_device_for_them(machine):
    assert machine.observed().kprobes is False

    machine.put("sys/bus/event_source/devices/kprobe/type", b"8\n")

    assert machine.observed().kprobes is True


def test_a_kernel_log_that_can_be_opened_has_no_error(machine):
    assert machine.put("dev/kmsg", b"").observed().kmsg_error == ""


def test_a_kernel_log_that_cannot_be_opened_has_the_kernels_error(machine):
    machine.dev.mkdir()
    (machine.dev / "kmsg").symlink_to("kmsg")

    assert machine.observed().kmsg_error == "Too many levels of symbolic links"


def test_a_pipe_or_another_device_is_not_the_kernel_log(machine):
    machine.dev.mkdir()
    os.mkfifo(machine.dev / "kmsg")
    assert machine.observed().kmsg_error == "not the expected device"

    (machine.dev / "kmsg").unlink()
    (machine.dev / "kmsg").symlink_to("/dev/null")
    assert machine.observed().kmsg_error == "not the expected device"


@pytest.mark.parametrize(("content", "restricted"), [(b"0\n", False), (b"1\n", True), (b"", False), (b"?", False)])
def test_dmesg_restrict_is_read(machine, content, restricted):
    assert machine.put("proc/sys/kernel/dmesg_restrict", content).observed().dmesg_restrict is restricted


@pytest.mark.parametrize(
    ("target", "hosts"),
    [("pid:[4026531836]", True), ("pid:[4026532179]", False), ("pid:[40265318360]", False), (None, False)],
)
def test_the_hosts_pid_namespace_is_recognized_by_its_inode_number(machine, target, hosts):
    (machine.proc / "self/ns").mkdir(parents=True)
    if target:
        (machine.proc / "self/ns/pid").symlink_to(target)

    assert machine.observed().host_pids is hosts


@pytest.mark.parametrize(
    ("content", "counts"),
    [(b"pgpgin 1\noom_kill 0\npgpgout 2\n", True), (b"pgpgin 1\nswap_oom_kill 3\noom_kills 3\n", False), (b"", False)],
)
def test_the_kill_counter_is_detected(machine, content, counts):
    assert machine.put("proc/vmstat", content).observed().oom_kill_counter is counts


def test_a_tracefs_that_can_be_read_has_no_error(machine):
    machine.put("sys/kernel/tracing/events/header_page", b"")

    assert machine.observed().tracefs_error == ""


V1 = "cgroup {root}/memory cgroup rw,nosuid,memory 0 0\n"
CPU = "cgroup {root}/cpu cgroup rw,cpu,cpuacct 0 0\n"
V2 = "cgroup2 {root}/unified cgroup2 rw,nsdelegate 0 0\n"


@pytest.mark.parametrize(
    ("mounts", "controllers", "where", "memory"),
    [
        (V1 + CPU, b"", {"v1": "memory"}, "v1"),
        (V2, b"cpuset cpu io memory pids\n", {"v2": "unified"}, "v2"),
        (V2, b"cpuset cpu io pids\n", {"v2": "unified"}, ""),
        (V2 + V1, b"", {"v1": "memory", "v2": "unified"}, "v1"),
        (CPU + V2, b"memory\n", {"v2": "unified"}, "v2"),
        ("tmpfs / tmpfs memory 0 0\n\nbroken\n", b"", {}, ""),
        ("", b"memory\n", {}, ""),
    ],
)
def test_memory_cgroups_are_found_on_either_version(machine, mounts, controllers, where, memory):
    machine.put("unified/cgroup.controllers", controllers)
    root = machine.proc.parent

    seen = machine.put("proc/self/mounts", mounts.format(root=root).encode()).observed()

    assert seen.cgroups == {version: f"{root}/{name}" for version, name in where.items()}
    assert seen.memory_cgroups == memory


def test_btf_gives_offsets_and_tracepoint_arguments(machine):
    types = BtfBuilder()
    integer = types.integer(4)
    task = types.struct("task_struct", 64, [("pid", integer, 24)])
    proto = types.prototype(types.pointer(0), types.pointer(task), integer)
    types.typedef("btf_trace_mark_victim", types.pointer(proto))

    seen = machine.put("sys/kernel/btf/vmlinux", types.blob()).observed()

    assert seen.btf_error == ""
    assert seen.mark_victim == ("task_struct *", "int")
    assert seen.offsets is not None
    assert seen.offsets.macros["OFF_TASK_PID"] == 24
    assert "task_struct.tgid" in seen.offsets.lacking
    assert seen.fentry_error == "not described in BTF"


@pytest.mark.parametrize("content", [b"", b"\x7fELF" + bytes(100)])
def test_a_file_that_is_not_btf_counts_as_no_btf(machine, content):
    seen = machine.put("sys/kernel/btf/vmlinux", content).observed()

    assert seen.btf_error.startswith(f"{machine.sys}/kernel/btf/vmlinux: ")
    assert seen.offsets is None
    assert seen.mark_victim is None


def test_btf_with_a_corrupt_type_counts_as_no_btf(machine):
    types = BtfBuilder()
    types.struct("task_struct", 64, [("pid", 999, 24)])

    seen = machine.put("sys/kernel/btf/vmlinux", types.blob()).observed()

    path = f"{machine.sys}/kernel/btf/vmlinux"
    assert seen.btf_error == f"{path}: BTF data is corrupt, a reference leads outside of it"
    assert seen.offsets is None


@pytest.mark.parametrize(
    "path", ["proc/kallsyms", "proc/self/status", "sys/kernel/security/lockdown", "sys/devices/system/cpu/possible"]
)
@pytest.mark.parametrize("content", [b"\xff\xfe\0\n" * 5, b"-", b"[", b"CapEff:\tzz\n"])
def test_files_with_invalid_content_count_as_missing(machine, path, content):
    seen = machine.put(path, content).observed()

    assert (seen.symbols, seen.capabilities, seen.lockdown, seen.possible_cpus) == ({}, 0, "", 1)


def test_a_directory_in_place_of_a_file_counts_as_missing(machine):
    (machine.proc / "kallsyms").mkdir()

    assert machine.observed().symbols == {}


@pytest.mark.parametrize(
    ("content", "hierarchy"),
    [
        (b"12:pids:/\n4:memory:/a:b\n0::/\n", 4),
        (b"7:cpu,memory,blkio:/\n", 7),
        (b"3:name=memory:/\n0::/memory:\n", 0),
        (b"0::/\n", 0),
        (b"3:pids:/\n", None),
        (b"", None),
    ],
)
def test_the_memory_hierarchy_is_that_of_the_controller_or_version_2(machine, content, hierarchy):
    assert machine.put("proc/self/cgroup", content).observed().memory_hierarchy == hierarchy
