# SPDX-License-Identifier: Apache-2.0
"""A memory cgroup for harmless kills: with a limit, without swap, removed afterwards."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ooMtrace.errors import OomtraceError
from ooMtrace.kernel.cgroup_mounts import Hierarchy, read_cgroup_mounts


@dataclass(frozen=True, slots=True)
class ScratchCgroup:
    """One memory cgroup of ours.

    Attributes:
        folder: Its directory.
        path: Its path in the hierarchy, as the kernel prints it.
        version: 1 or 2.
    """

    folder: Path
    path: str
    version: int

    def write(self, v1: str, v2: str, value: int | str) -> None:
        """Write a file of the cgroup by its name in either version; "": that version has no such file."""
        name = v1 if self.version == 1 else v2
        if name:
            (self.folder / name).write_text(str(value))

    def limit(self, size: int) -> None:
        """Set the limit in bytes, and disable swap."""
        self.write("memory.limit_in_bytes", "memory.max", size)
        # A kernel without swap support has neither file, and needs neither.
        with suppress(FileNotFoundError, PermissionError):
            self.write("memory.swappiness", "memory.swap.max", 0)

    def join(self, pid: int) -> None:
        """Move a process into the cgroup."""
        (self.folder / "cgroup.procs").write_text(str(pid))

    def usage(self) -> int:
        """Return how many bytes are charged."""
        name = "memory.usage_in_bytes" if self.version == 1 else "memory.current"
        return int((self.folder / name).read_text())

    def oom_kills(self) -> int:
        """Return how many processes the OOM killer has killed in the cgroup."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        found = re.search(r"^oom_kill ([0-9]{1,18})$", (self.folder / name).read_text(), re.MULTILINE)
        return int(found[1]) if found else 0


@contextmanager
def scratch_cgroup(name: str, where: Hierarchy | None = None) -> Iterator[ScratchCgroup]:
    """Create a memory cgroup below the root of the hierarchy, and remove it with all below it.

    Args:
        name: Its name; may be a path below a cgroup that exists.
        where: The hierarchy; None: the one with the memory controller.

    Raises:
        OomtraceError: It cannot be created.
    """
    where = where or read_cgroup_mounts().memory_hierarchy()
    if where is None:
        raise OomtraceError(
            "no hierarchy with the memory controller is mounted", "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        )
    folder = where.mount / name
    try:
        if where.version != 1:
            (where.mount / "cgroup.subtree_control").write_text("+memory")
        folder.mkdir()
    except OSError as error:
        raise OomtraceError(f"{folder}: {error.strerror}", "run as root on the host to create a cgroup") from error
    try:
        yield ScratchCgroup(folder, f"/{name}", where.version)
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a cgroup and those below it; the kernel may take a moment to remove the last dying task from it."""
    deepest_first = sorted((Path(root) for root, _, _ in os.walk(folder)), key=lambda path: -len(path.parts))
    for cgroup in deepest_first:
        for _ in range(100):
            try:
                cgroup.rmdir()
                break
            except OSError:
                time.sleep(0.05)
