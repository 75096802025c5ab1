# SPDX-License-Identifier: Apache-2.0
"""Mount points of cgroup hierarchies, from /proc/self/mounts of real hosts and with every escape."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ooMtrace.errors import OomtraceError
from ooMtrace.kernel import scratch_cgroup as module
from ooMtrace.kernel.cgroup_mounts import CgroupMounts, Hierarchy, parse_cgroup_mounts, read_cgroup_mounts
from ooMtrace.kernel.scratch_cgroup import scratch_cgroup

UNIFIED = b"""\
proc /proc proc rw,nosuid,nodev,noexec,relatime 0 0
cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate,memory_recursiveprot 0 0
"""
HYBRID = b"""\
tmpfs /sys/fs/cgroup tmpfs ro,nosuid,nodev,noexec,mode=755 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,nosuid,nodev,noexec,relatime,xattr,name=systemd 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,nodev,noexec,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,nosuid,nodev,noexec,relatime,memory 0 0
"""
TOGETHER = b"cgroup /cgroup cgroup rw,cpu,memory,pids 0 0\n"


@pytest.mark.parametrize(
    ("mounts", "v1", "v2"),
    [
        (UNIFIED, None, "/sys/fs/cgroup"),
        (HYBRID, "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"),
        (TOGETHER, "/cgroup", None),
        (b"", None, None),
        (b"\n\nbroken\ncgroup2\ncgroup /x cgroup\n", None, None),
        (b"tmpfs /memory tmpfs rw,memory 0 0\n", None, None),
        (b"cgroup /x cgroup rw,name=memory,xmemory 0 0\n", None, None),
        (b"cgroup2 /first cgroup2 rw 0 0\ncgroup2 /second cgroup2 rw 0 0\n", None, "/first"),
        (TOGETHER + b"cgroup /again cgroup rw,cpu,memory,pids 0 0\n", "/cgroup", None),
    ],
)
def test_the_hierarchies_that_matter_are_found(mounts, v1, v2):
    assert parse_cgroup_mounts(mounts) == CgroupMounts(v1 and Path(v1), v2 and Path(v2))


@pytest.mark.parametrize(
    ("escaped", "mount_point"),
    [
        (rb"/a\040b", "/a b"),
        (rb"/a\011b", "/a\tb"),
        (rb"/a\012b", "/a\nb"),
        (rb"/a\134b", "/a\\b"),
        (rb"/a\134040b", "/a\\040b"),
        (rb"/a\043b", "/a#b"),
        (rb"/a\xb", "/a\\xb"),
        (rb"/a\777", "/a\\777"),
        (b"/a\x0bb\xe2\x80\xa8c", "/a\x0bb\u2028c"),
        (b"/a\xff", os.fsdecode(b"/a\xff")),
    ],
)
def test_escapes_in_a_mount_point_are_decoded(escaped, mount_point):
    mounts = b"cgroup2 %s cgroup2 rw 0 0\n" % escaped

    assert parse_cgroup_mounts(mounts) == CgroupMounts(None, Path(mount_point))


def test_version_1_has_the_memory_controller_wherever_it_is_mounted(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("memory\n")

    assert CgroupMounts(Path("/v1"), tmp_path).memory_hierarchy() == Hierarchy(Path("/v1"), 1)


@pytest.mark.parametrize(
    ("controllers", "has_memory"),
    [("cpuset cpu io memory pids\n", True), ("memory", True), ("cpu io\n", False), ("xmemory\n", False), ("", False)],
)
def test_the_unified_hierarchy_has_the_memory_controller_if_it_lists_it(tmp_path, controllers, has_memory):
    (tmp_path / "cgroup.controllers").write_text(controllers)

    assert CgroupMounts(None, tmp_path).memory_hierarchy() == (Hierarchy(tmp_path, 2) if has_memory else None)


@pytest.mark.parametrize("mounts", [CgroupMounts(), CgroupMounts(None, Path("/nowhere"))])
def test_without_a_readable_hierarchy_there_is_no_memory_controller(mounts):
    assert mounts.memory_hierarchy() is None


def test_mounts_that_cannot_be_read_are_none(tmp_path):
    assert read_cgroup_mounts(tmp_path) == CgroupMounts()


def test_the_mounts_of_this_process_are_read(tmp_path):
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mounts").write_bytes(UNIFIED)

    assert read_cgroup_mounts(tmp_path) == CgroupMounts(None, Path("/sys/fs/cgroup"))


def test_a_scratch_cgroup_needs_a_hierarchy_with_the_memory_controller(monkeypatch):
    monkeypatch.setattr(module, "read_cgroup_mounts", CgroupMounts)

    with pytest.raises(OomtraceError, match=r"^no hierarchy with the memory controller is mounted; mount -t cgroup2 "):
        scratch_cgroup("scratch").__enter__()


@pytest.mark.parametrize(("version", "enabled"), [(1, None), (2, "+memory")])
def test_a_scratch_cgroup_is_created_in_the_hierarchy_and_removed_at_the_end(tmp_path, version, enabled):
    with scratch_cgroup("scratch", Hierarchy(tmp_path, version)) as cgroup:
        assert (cgroup.folder, cgroup.path, cgroup.version) == (tmp_path / "scratch", "/scratch", version)
        (cgroup.folder / "inner").mkdir()

    assert not (tmp_path / "scratch").exists()
    control = tmp_path / "cgroup.subtree_control"
    assert (control.read_text() if control.exists() else None) == enabled


@pytest.mark.parametrize(
    ("version", "limit", "swap", "usage"),
    [
        (1, "memory.limit_in_bytes", "memory.swappiness", "memory.usage_in_bytes"),
        (2, "memory.max", "memory.swap.max", "memory.current"),
    ],
)
def test_a_scratch_cgroup_uses_the_files_of_its_version(tmp_path, version, limit, swap, usage):
    cgroup = module.ScratchCgroup(tmp_path, "/", version)
    (tmp_path / usage).write_text("4096\n")
    (tmp_path / ("memory.oom_control" if version == 1 else "memory.events")).write_text(
        "oom_kill_disable 0\noom_kill 3\n"
    )

    cgroup.limit(1 << 20)
    cgroup.join(17)

    assert {path.name: path.read_text() for path in (tmp_path / limit, tmp_path / swap)} == {
        limit: "1048576",
        swap: "0",
    }
    assert (tmp_path / "cgroup.procs").read_text() == "17"
    assert (cgroup.usage(), cgroup.oom_kills()) == (4096, 3)
