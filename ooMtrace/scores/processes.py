# SPDX-License-Identifier: Apache-2.0
"""The processes of this host as the OOM killer sees them, from /proc (proc_pid_status(5))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ooMtrace.scores.badness import Usage

FIELD = re.compile(rb"^(\w+):[ \t]*([0-9]{1,18})(?: kB)?", re.MULTILINE)
NAME = re.compile(rb"^Name:\t(.*)$", re.MULTILINE)
RSS = (b"RssAnon", b"RssFile", b"RssShmem")
KB = 1024
MAX_THREADS = 1000
"""Of a process whose first thread has exited; those that are examined for its memory."""

MAX_TITLE = 4096
UNIFIED = b"0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A process that has memory.

    Attributes:
        pid: In this pid namespace.
        comm: Its name.
        title: Its title or arguments; "" if it has none or they cannot be read.
        user: Real user id.
        cgroup: Path of its memory cgroup; None if that is not known.
        usage: What badness counts.
        oom_score: What /proc shows; None if it could not be read.
        started: When it was started, in clock ticks since boot.
    """

    pid: int
    comm: str
    title: str
    user: int | None
    cgroup: str | None
    usage: Usage
    oom_score: int | None
    started: int


def read_processes(
    page_size: int, version: int | None, proc: Path = Path("/proc"), *, host_pids: bool = True
) -> list[Candidate]:
    """Return all processes that have memory; one that exits meanwhile is left out, as are kernel threads.

    Args:
        page_size: In bytes.
        version: Of cgroups, that of the memory controller; None: there is none.
        proc: Where /proc is mounted.
        host_pids: Whether its process 1 is the init process of the host, which the kernel never chooses.
    """
    exempt = "1" if host_pids else ""
    folders = (folder for folder in proc.iterdir() if folder.name.isascii() and folder.name.isdecimal())
    found = (_process(folder, page_size, version, exempt) for folder in folders)
    return [process for process in found if process is not None]


def read_pss(pid: int, proc: Path = Path("/proc")) -> int | None:
    """Return the proportional set size in bytes, which the kernel's choice does not use; None if not permitted."""
    try:
        fields = _fields((proc / str(pid) / "smaps_rollup").read_bytes())
    except OSError:
        return None
    return fields[b"Pss"] * KB if b"Pss" in fields else None


def _process(folder: Path, page_size: int, version: int | None, exempt: str) -> Candidate | None:
    try:
        status = _status(folder)
        if status is None:
            return None
        fields = _fields(status)
        adj = int((folder / "oom_score_adj").read_text())
        name = NAME.search(status)
        return Candidate(
            pid=int(folder.name),
            comm=name[1].decode("utf-8", "replace") if name else "",
            title=_title(folder),
            user=fields.get(b"Uid"),
            cgroup=_cgroup((folder / "cgroup").read_bytes(), version),
            usage=Usage(
                rss=sum(fields.get(kind, 0) for kind in RSS) * KB // page_size,
                swap=fields.get(b"VmSwap", 0) * KB // page_size,
                page_tables=fields.get(b"VmPTE", 0) * KB // page_size,
                adj=adj,
                is_exempt=folder.name == exempt,
            ),
            oom_score=_number(folder / "oom_score"),
            started=parse_start((folder / "stat").read_bytes()),
        )
    except (OSError, ValueError, IndexError):  # it has exited
        return None


def _status(folder: Path) -> bytes | None:
    """Return the status of a thread that has the memory: the first one may have exited before the others."""
    status = (folder / "status").read_bytes()
    if RSS[0] in status:
        return status
    threads = _number_of_threads(status)
    if threads == 0 or b"\nKthread:\t1" in status:
        return None
    for thread in islice((folder / "task").iterdir(), min(threads, MAX_THREADS)):
        other = (thread / "status").read_bytes()
        if RSS[0] in other:
            return other
    return None


def _number_of_threads(status: bytes) -> int:
    return _fields(status).get(b"Threads", 0)


def _fields(text: bytes) -> dict[bytes, int]:
    return {name: int(number) for name, number in FIELD.findall(text)}


def _title(folder: Path) -> str:
    try:
        with (folder / "cmdline").open("rb") as file:
            title = file.read(MAX_TITLE)
    except OSError:
        return ""
    return title.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")


def _cgroup(text: bytes, version: int | None) -> str | None:
    for row in text.split(b"\n"):
        number, _, rest = row.partition(b":")
        controllers, _, path = rest.partition(b":")
        is_ours = b"memory" in controllers.split(b",") if version == 1 else number == UNIFIED and not controllers
        if is_ours and version is not None:
            return path.removesuffix(b" (deleted)").decode("utf-8", "replace")
    return None


def parse_start(stat: bytes) -> int:
    """Return field 22 of /proc/PID/stat: clock ticks since boot. The name before it may contain anything."""
    return int(stat.rpartition(b")")[2].split()[19])


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
