# SPDX-License-Identifier: Apache-2.0
"""A cgroup to make harmless kills in, in a tree that looks like either version's."""

from __future__ import annotations

import pytest

from ooMtrace.errors import OomtraceError
from ooMtrace.kernel.cgroup_mounts import Hierarchy
from ooMtrace.kernel.scratch_cgroup import ScratchCgroup, scratch_cgroup


@pytest.mark.parametrize(
    ("version", "limit", "swap"),
    [(1, "memory.limit_in_bytes", "memory.swappiness"), (2, "memory.max", "memory.swap.max")],
)
def test_a_limit_keeps_swap_out(tmp_path, version, limit, swap):
    ScratchCgroup(tmp_path, "/x", version).limit(4096)

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {limit: "4096", swap: "0"}


@pytest.mark.parametrize(
    ("version", "usage", "events"), [(1, "usage_in_bytes", "oom_control"), (2, "current", "events")]
)
def test_usage_and_kills_are_read_from_the_files_of_each_version(tmp_path, version, usage, events):
    (tmp_path / f"memory.{usage}").write_text("8192\n")
    (tmp_path / f"memory.{events}").write_text("oom 7\noom_kill 3\noom_group_kill 1\n")
    cgroup = ScratchCgroup(tmp_path, "/x", version)

    assert cgroup.usage() == 8192
    assert cgroup.oom_kills() == 3


def test_it_is_removed_with_all_below_it_even_after_a_failure(tmp_path):
    def fail() -> None:
        with scratch_cgroup("mine", Hierarchy(tmp_path, 1)) as cgroup:
            assert cgroup.path == "/mine"
            (cgroup.folder / "below/deep").mkdir(parents=True)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_version_2_enables_the_memory_controller_below_it(tmp_path):
    with scratch_cgroup("mine", Hierarchy(tmp_path, 2)):
        assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"


def test_one_that_cannot_be_made_is_one_line(tmp_path):
    with pytest.raises(OomtraceError, match="No such file or directory; run as root on the host to create a cgroup"):
        scratch_cgroup("a/b/c", Hierarchy(tmp_path / "absent", 1)).__enter__()
