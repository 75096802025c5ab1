# SPDX-License-Identifier: Apache-2.0
"""Finds a network namespace by its inode number: through names and processes that refer to it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ooMtrace.record import Process

PID = re.compile("[0-9]{1,10}")
"""The name of a process in /proc."""


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


def places(victim: Process, proc: Path, run: Path) -> Iterator[Path]:
    """Yield files that may be the namespace: of the victim, of the names in `run`, of all processes in `proc`."""
    # The victim first, for it is about to exit. If its first thread has ended, only the other threads still have one.
    yield from (proc / str(number) / "ns/net" for number in (victim.pid, victim.tid) if number is not None)
    # Names given by `ip netns` and CNI, and by Docker.
    for folder in (run / "netns", run / "docker/netns"):
        yield from (folder / name for name in _names(folder))
    # Processes that started one after the other often share a namespace.
    pids = [int(name) for name in _names(proc) if PID.fullmatch(name)]
    near = victim.pid or 0
    yield from (proc / str(pid) / "ns/net" for pid in sorted(pids, key=lambda pid: abs(pid - near)))


def open_namespace(candidates: Iterable[Path], wanted: Identity, is_over: Callable[[], bool]) -> int | None:
    """Open the first candidate that is the wanted namespace; None if there is none before `is_over`."""
    for place in candidates:
        if identity(place) == wanted:
            namespace = _open(place, wanted)
            if namespace is not None:
                return namespace
        if is_over():
            break
    return None


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 (a host may have very many processes, and Paths are slow)
    except OSError:  # no namespace has a name yet
        return []


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
