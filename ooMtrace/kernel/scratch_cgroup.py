# SPDX-License-Identifier: Apache-2.0
"""A memory cgroup to make harmless kills in: with a limit, without swap, and taken away afterwards."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ooMtrace.errors import OomtraceError


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where memory cgroups are: mount point and version (1 or 2)."""

    mount: Path
    version: int


@dataclass(frozen=True, slots=True)
class ScratchCgroup:
    """One memory cgroup of ours.

    Attributes:
        folder: Where it is in the file system.
        path: Its path in the hierarchy, as the kernel prints it.
    """

    folder: Path
    path: str
    version: int

    def write(self, v1: str, v2: str, value: int | str) -> None:
        """Write one of its files, by its name in either version; an empty name: not in that version."""
        name = v1 if self.version == 1 else v2
        if name:
            (self.folder / name).write_text(str(value))

    def limit(self, size: int) -> None:
        """Set the limit in bytes, and keep swap out of it."""
        self.write("memory.limit_in_bytes", "memory.max", size)
        # Without swap support in the kernel these files are not there, and nothing needs to be kept out.
        with suppress(FileNotFoundError, PermissionError):
            self.write("memory.swappiness", "memory.swap.max", 0)

    def join(self, pid: int) -> None:
        """Move a process into it."""
        (self.folder / "cgroup.procs").write_text(str(pid))

    def usage(self) -> int:
        """Return the bytes charged."""
        name = "memory.usage_in_bytes" if self.version == 1 else "memory.current"
        return int((self.folder / name).read_text())

    def oom_kills(self) -> int:
        """Return how many processes the kernel has killed in it."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        found = re.search(r"^oom_kill (\d+)$", (self.folder / name).read_text(), re.MULTILINE)
        return int(found[1]) if found else 0


def hierarchy(proc: Path = Path("/proc")) -> Hierarchy:
    """Find the hierarchy that the memory controller is on; raises OomtraceError if there is none here."""
    unified = None
    for line in (proc / "self/mounts").read_text().splitlines():
        _, mount, kind, options, *_ = line.split(" ")
        if kind == "cgroup" and "memory" in options.split(","):
            return Hierarchy(Path(mount), 1)
        if kind == "cgroup2":
            unified = Path(mount)
    if unified and "memory" in (unified / "cgroup.controllers").read_text().split():
        return Hierarchy(unified, 2)
    raise OomtraceError("no memory cgroups are mounted here", "mount cgroup2 on /sys/fs/cgroup")


@contextmanager
def scratch_cgroup(name: str, where: Hierarchy | None = None) -> Iterator[ScratchCgroup]:
    """Make a memory cgroup below the root of the hierarchy, and remove it with all below it.

    Raises:
        OomtraceError: It cannot be made.
    """
    where = where or hierarchy()
    folder = where.mount / name
    try:
        if where.version != 1:
            (where.mount / "cgroup.subtree_control").write_text("+memory")
        folder.mkdir()
    except OSError as error:
        raise OomtraceError(f"{folder}: {error.strerror}", "making a scratch cgroup needs root on the host") from error
    try:
        yield ScratchCgroup(folder, f"/{name}", where.version)
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a cgroup and those below it; the last of the dying may need a moment to leave."""
    deepest_first = sorted((Path(root) for root, _, _ in os.walk(folder)), key=lambda p: -len(p.parts))
    for one in deepest_first:
        for _ in range(100):
            try:
                one.rmdir()
                break
            except OSError:
                time.sleep(0.05)
