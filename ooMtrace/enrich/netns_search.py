# SPDX-License-Identifier: Apache-2.0
"""Finds a network namespace by its inode number: through names and processes that refer to it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from ooMtrace.enrich import Later
from ooMtrace.kernel.cgroup_mounts import read_cgroup_mounts
from ooMtrace.kernel.clock import Clock
from ooMtrace.kernel.snapshot import rfc3339
from ooMtrace.record import OomKill

LINK = re.compile(r"net:\[([0-9]{1,20})\]")
"""The target of /proc/PID/ns/net (ns_get_name() in fs/nsfs.c)."""

MAX_PIDS = 4
"""Processes of one namespace that are remembered: any may have exited."""

Inodes = dict[int, tuple[int, ...]]
"""Inode number of a namespace -> some of the processes in it."""


class Identity(NamedTuple):
    """What identifies a namespace: all of them are on one device, and nothing else is."""

    device: int
    inode: int


def identity(file: Path | int) -> Identity | None:
    """Return the identity of a file or file descriptor; None if it is gone or cannot be accessed."""
    try:
        status = os.stat(file)  # noqa: PTH116 (a file descriptor has no Path)
    except OSError:
        return None
    return Identity(status.st_dev, status.st_ino)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchLimits:
    """How much the search for a namespace may cost.

    Attributes:
        likely: Files examined before all processes are: of the victim, its parent and its cgroup, and names.
        places: Processes examined; a host may have tens of thousands.
        search_s: Seconds for those.
        pause: A search through all processes is followed by a pause this many times as long.
        pause_s: Seconds of that pause at least.
    """

    likely: int = 1024
    places: int = 4096
    search_s: float = 0.1
    pause: int = 9
    pause_s: float = 0.2


class NetnsFinder:
    """Opens the namespace of a kill. Kills share a search through all processes, which may last a tenth of a second.

    Args:
        proc: Root of the processes.
        run: Root of the names of namespaces.
        limits: How much it may cost.
        clock: What limits are measured with.
    """

    def __init__(self, proc: Path, run: Path, limits: SearchLimits, clock: Clock) -> None:
        self._proc, self._run = proc, run
        self._limits = limits
        self._clock = clock
        self._processes: Inodes = {}
        self._scanned = ""
        self._next_scan = 0

    def find(self, kill: OomKill, wanted: Identity) -> int | Later | None:
        """Return a file descriptor of the namespace, when to ask again, or None: it is not found."""
        likely = likely_places(kill, self._proc, self._run, self._cgroup(kill))
        namespace = open_namespace(chain(islice(likely, self._limits.likely), self._known_places(wanted)), wanted)
        if namespace is not None or self._scanned > kill.observed:  # who was in it by then has been seen
            return namespace
        if (now := self._clock.monotonic_ns()) < self._next_scan:
            return Later(self._next_scan)
        self._scan(kill, now)
        return open_namespace(self._known_places(wanted), wanted)

    def _scan(self, kill: OomKill, now: int) -> None:
        scanned = rfc3339(self._clock.time_ns())
        deadline = now + int(self._limits.search_s * 1e9)
        self._processes = scan_processes(
            self._proc, kill.process.pid or 0, self._limits.places, lambda: self._clock.monotonic_ns() > deadline
        )
        self._scanned = scanned
        ended = self._clock.monotonic_ns()
        self._next_scan = ended + max(self._limits.pause * (ended - now), int(self._limits.pause_s * 1e9))

    def _known_places(self, wanted: Identity) -> Iterator[Path]:
        return (self._proc / str(pid) / "ns/net" for pid in self._processes.get(wanted.inode, ()))

    def _cgroup(self, kill: OomKill) -> Path | None:
        """Return the directory of the victim's cgroup."""
        if kill.cgroup is None or kill.cgroup.path is None:
            return None
        mounts = read_cgroup_mounts(self._proc)
        mount = mounts.v1 if kill.cgroup.version == 1 else mounts.v2
        return None if mount is None else mount / kill.cgroup.path.lstrip("/")


def places_of_victim(kill: OomKill, proc: Path) -> Iterator[Path]:
    """Yield the victim's own files that are its namespace until it exits."""
    # If its first thread has ended, only the other threads still have one.
    ids = dict.fromkeys(number for number in (kill.process.pid, kill.process.tid) if number is not None)
    yield from (proc / str(number) / "ns/net" for number in ids)


def likely_places(kill: OomKill, proc: Path, run: Path, cgroup: Path | None) -> Iterator[Path]:
    """Yield files that are likely to be the namespace: of its parent, of its cgroup's processes, names in `run`.

    Args:
        kill: The kill.
        proc: Root of the processes.
        run: Root of the names.
        cgroup: Directory of the victim's cgroup; None: unknown.
    """
    yield from places_of_victim(kill, proc)
    parent = kill.process.parent.pid if kill.process.parent else None
    if parent is not None:
        yield proc / str(parent) / "ns/net"
    for pid in islice(_processes_of(cgroup), 64) if cgroup else ():
        yield proc / pid / "ns/net"
    # Names given by `ip netns` and CNI, and by Docker.
    for folder in (run / "netns", run / "docker/netns"):
        yield from (folder / name for name in _names(folder))


def open_namespace(candidates: Iterable[Path], wanted: Identity) -> int | None:
    """Open the first candidate that is the wanted namespace; None if there is none."""
    for place in candidates:
        if _is_namespace(place, wanted):
            namespace = _open(place, wanted)
            if namespace is not None:
                return namespace
    return None


def scan_processes(proc: Path, near: int, limit: int, is_over: Callable[[], bool]) -> Inodes:
    """Return the network namespaces of all processes, or of as many as can be examined.

    Args:
        proc: Root of the processes.
        near: Processes with a pid near this one come first: those that started one after the other often share a
            namespace.
        limit: How many to examine.
        is_over: Whether to stop.
    """
    found: Inodes = {}
    pids = (int(name) for name in _names(proc) if name.isascii() and name.isdecimal())
    for pid in sorted(pids, key=lambda pid: abs(pid - near))[:limit]:
        inode = _inode(proc / str(pid) / "ns/net")
        if inode is not None and len(found.get(inode, ())) < MAX_PIDS:
            found[inode] = (*found.get(inode, ()), pid)
        if is_over():
            break
    return found


def _is_namespace(place: Path, wanted: Identity) -> bool:
    inode = _linked_inode(place)
    return identity(place) == wanted if inode is None else inode == wanted.inode


def _inode(place: Path) -> int | None:
    inode, found = _linked_inode(place), None
    if inode is None:
        found = identity(place)
    return found.inode if found else inode


def _linked_inode(place: Path) -> int | None:
    """Return the inode number in the text of a link, without following it; None if it is no such link."""
    try:
        link = LINK.fullmatch(os.readlink(place))  # noqa: PTH115 (a third of Path's time, for each process)
    except OSError:  # a name is no link, and a process that has exited has none
        return None
    return int(link[1]) if link else None


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 (a host may have very many processes, and Paths are slow)
    except OSError:  # no namespace has a name yet
        return []


def _processes_of(cgroup: Path) -> Iterator[str]:
    try:
        with (cgroup / "cgroup.procs").open() as file:
            yield from (line.strip() for line in file)
    except OSError:  # removed
        return


def _open(place: Path, wanted: Identity) -> int | None:
    """Open a namespace, and check what was opened: the pid or name may have been reused in between."""
    try:
        namespace = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    if identity(namespace) == wanted:
        return namespace
    os.close(namespace)
    return None
