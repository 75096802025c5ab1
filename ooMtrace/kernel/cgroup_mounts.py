# SPDX-License-Identifier: Apache-2.0
"""Where cgroup hierarchies are mounted, from /proc/self/mounts (proc_pid_mounts(5))."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

ESCAPE = re.compile(rb"\\([0-3][0-7]{2})")
"""What the kernel writes for space, tab, newline, backslash and `#` (show_vfsmnt() in fs/proc_namespace.c)."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """The hierarchy that the memory controller is on: mount point and version (1 or 2)."""

    mount: Path
    version: int


@dataclass(frozen=True, slots=True)
class CgroupMounts:
    """Mount points of the hierarchies that matter for memory; of several mounts of one hierarchy the first.

    Attributes:
        v1: The version 1 hierarchy of the memory controller; None: not mounted.
        v2: The unified hierarchy, with or without the memory controller; None: not mounted.
    """

    v1: Path | None = None
    v2: Path | None = None

    def memory_hierarchy(self) -> Hierarchy | None:
        """Return the hierarchy of the memory controller; None if it is not mounted or cannot be read.

        The controller is on one hierarchy only: where version 1 has it, the unified hierarchy does not.
        """
        if self.v1 is not None:
            return Hierarchy(self.v1, 1)
        if self.v2 is not None and b"memory" in _controllers(self.v2):
            return Hierarchy(self.v2, 2)
        return None


def read_cgroup_mounts(proc: Path = Path("/proc")) -> CgroupMounts:
    """Read the mounts that this process sees; none if the file cannot be read."""
    try:
        return parse_cgroup_mounts((proc / "self/mounts").read_bytes())
    except OSError:
        return CgroupMounts()


def parse_cgroup_mounts(mounts: bytes) -> CgroupMounts:
    """Parse the content of /proc/self/mounts; lines of another shape are skipped."""
    v1: Path | None = None
    v2: Path | None = None
    # Only newlines end a line: a mount point may hold anything else that splitlines() takes for an end.
    for line in mounts.split(b"\n"):
        _, mount_point, kind, options, *_ = [*line.split(b" "), b"", b"", b"", b""]
        if kind == b"cgroup" and b"memory" in options.split(b","):
            v1 = v1 or _path(mount_point)
        elif kind == b"cgroup2":
            v2 = v2 or _path(mount_point)
    return CgroupMounts(v1, v2)


def _path(mount_point: bytes) -> Path:
    return Path(os.fsdecode(ESCAPE.sub(lambda escape: bytes((int(escape[1], 8),)), mount_point)))


def _controllers(mount: Path) -> list[bytes]:
    try:
        return (mount / "cgroup.controllers").read_bytes().split()
    except OSError:
        return []
