# SPDX-License-Identifier: Apache-2.0
"""What may run out of memory: the host, and each memory cgroup with a limit (mm/memcontrol.c, mem_cgroup_get_max())."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ooMtrace.kernel.cgroup_mounts import Hierarchy
from ooMtrace.kernel.snapshot import HostSnapshot
from ooMtrace.scores.badness import points
from ooMtrace.scores.processes import Candidate

MAX_CGROUPS = 20_000
UNLIMITED = 1 << 62
"""Bytes, about: version 1 shows the largest number of pages as a limit."""

PRESSURE = re.compile(r"^(some|full) avg10=([0-9]{1,3}\.[0-9]{1,2}) ", re.MULTILINE)
AVAILABLE = re.compile(r"^MemAvailable: +([0-9]{1,18}) kB$", re.MULTILINE)
KB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A limit, and the processes that are compared if it is hit.

    Attributes:
        path: Of the cgroup; None: the host.
        limit: In bytes; of the host the size of its RAM.
        usage: Bytes that count towards the limit; None if not known.
        total_pages: What points are relative to: the limit and the swap that may be used, in pages.
        pressure: Percent of the last ten seconds in which tasks waited for memory, `some` and `full`.
        processes: Those with the most points first, then those that cannot be chosen.
    """

    path: str | None
    limit: int
    usage: int | None
    total_pages: int
    pressure: dict[str, float]
    processes: tuple[Candidate, ...]

    def points(self, process: Candidate) -> int | None:
        """Return the badness of a process in this domain, in pages; None: it cannot be chosen."""
        return points(process.usage, self.total_pages)


def host_domain(host: HostSnapshot, processes: Iterable[Candidate], proc: Path = Path("/proc")) -> Domain:
    """Return what is compared if the host runs out of memory.

    Args:
        host: Has the sizes of RAM and swap.
        processes: All of them.
        proc: Where /proc is mounted.
    """
    ram, swap = host.ram or 0, host.swap or 0
    available = AVAILABLE.search(_read(proc / "meminfo"))
    free = int(available[1]) * KB if available else None
    return Domain(
        path=None,
        limit=ram * host.page_size,
        usage=None if free is None else ram * host.page_size - free,
        total_pages=ram + swap,
        pressure=_pressure(proc / "pressure/memory"),
        processes=_ranked(processes, ram + swap),
    )


def cgroup_domains(hierarchy: Hierarchy, host: HostSnapshot, processes: Iterable[Candidate]) -> list[Domain]:
    """Return what is compared if a memory cgroup hits its limit, for each that has one and has processes.

    Args:
        hierarchy: That of the memory controller.
        host: Has the size of swap.
        processes: All of them.
    """
    members: dict[str, list[Candidate]] = {}
    for process in processes:
        for path in _ancestors(process.cgroup):
            members.setdefault(path, []).append(process)
    found = (_domain(hierarchy, host, path, members[path]) for path in sorted(members)[:MAX_CGROUPS])
    return [domain for domain in found if domain is not None]


def _ancestors(path: str | None) -> Iterator[str]:
    """Yield a cgroup and those above it; not the root, which has no limit."""
    while path and path != "/" and path.startswith("/"):
        yield path
        path = path.rpartition("/")[0]


def _domain(hierarchy: Hierarchy, host: HostSnapshot, path: str, processes: list[Candidate]) -> Domain | None:
    folder = Path(f"{hierarchy.mount}{path}")
    names = (
        ("memory.max", "memory.current")
        if hierarchy.version != 1
        else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    )
    limit = _number(folder / names[0])
    if limit is None or limit >= UNLIMITED or ".." in path.split("/"):
        return None
    total = limit // host.page_size + _swap_pages(folder, hierarchy.version, limit, host)
    return Domain(
        path=path,
        limit=limit,
        usage=_number(folder / names[1]),
        total_pages=total or 1,
        pressure=_pressure(folder / "memory.pressure"),
        processes=_ranked(processes, total or 1),
    )


def _swap_pages(folder: Path, version: int, limit: int, host: HostSnapshot) -> int:
    """Return how much swap may be used beside the limit, in pages."""
    if not host.swap:
        return 0
    if version == 1:
        swappiness = _number(folder / "memory.swappiness")
        both = _number(folder / "memory.memsw.limit_in_bytes")
        allowed = None if both is None else (both - limit) // host.page_size
    else:
        swappiness = host.swappiness
        allowed_bytes = _number(folder / "memory.swap.max")
        allowed = None if allowed_bytes is None else allowed_bytes // host.page_size
    if swappiness == 0:
        return 0
    return host.swap if allowed is None else min(allowed, host.swap)


def _ranked(processes: Iterable[Candidate], total_pages: int) -> tuple[Candidate, ...]:
    """Sort by points; of two with the same, the kernel chooses the one that it finds last, mostly the younger."""

    def key(process: Candidate) -> tuple[bool, int, int]:
        badness = points(process.usage, total_pages)
        return badness is None, -(badness or 0), -process.started

    return tuple(sorted(processes, key=key))


def _pressure(path: Path) -> dict[str, float]:
    return {kind: float(share) for kind, share in PRESSURE.findall(_read(path))}


def _number(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if re.fullmatch("[0-9]{1,20}", text) else None


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except (OSError, ValueError):  # the cgroup was removed, or has a child of this name where there is no such file
        return ""
