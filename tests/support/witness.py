# SPDX-License-Identifier: Apache-2.0
"""Independent witnesses of kills: the kernel log and the kernel's counter."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

KILLED = re.compile(
    r"(?:Memory cgroup out of memory|Out of memory[^:]*): Killed process (?P<pid>\d+) \((?P<comm>.*)\) "
    r"total-vm:(?P<total_vm>\d+)kB, anon-rss:(?P<anon>\d+)kB, file-rss:(?P<file>\d+)kB, shmem-rss:(?P<shmem>\d+)kB, "
    r"UID:(?P<uid>\d+) pgtables:(?P<page_tables>\d+)kB oom_score_adj:(?P<adj>-?\d+)",
    re.DOTALL,
)
SUMMARY = re.compile(
    r"oom-kill:constraint=(\w+),.*oom_memcg=(.*),task_memcg=(.*),task=(.*),pid=(\d+),uid=(\d+)", re.DOTALL
)
TASK = re.compile(
    r"\[\s*(?P<pid>\d+)\]\s+\d+\s+(?P<tgid>\d+)\s+\d+\s+(?P<rss>\d+)(?:\s+\d+\s+\d+\s+\d+)?\s+(?P<pgtables>\d+)\s+"
    r"(?P<swap>\d+)\s+(?P<adj>-?\d+) "
)


@dataclass(frozen=True)
class LoggedKill:
    """One `Killed process` line; kilobytes."""

    pid: int
    comm: str
    total_vm: int
    anon: int
    file: int
    shmem: int
    uid: int
    page_tables: int
    adj: int


def logged_kill(found: re.Match[str]) -> LoggedKill:
    """Return the values of a match of KILLED."""
    comm, numbers = found["comm"], {name: int(text) for name, text in found.groupdict().items() if name != "comm"}
    return LoggedKill(comm=comm, **numbers)


INVOKED = re.compile(r" invoked oom-killer: gfp_mask=")
MEMORY = re.compile(r"^memory: usage (?P<usage>\d+)kB, limit (?P<limit>\d+)kB, failcnt ")


@dataclass(frozen=True)
class LoggedTask:
    """A process's row in the table of tasks; pages."""

    rss: int
    swap: int
    page_tables: int
    adj: int

    @property
    def points(self) -> int:
        """What the kernel ranks by, without the part of oom_score_adj."""
        return self.rss + self.swap + self.page_tables


class KernelLog:
    """The kernel log from now on."""

    def __init__(self) -> None:
        self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._fd, 0, os.SEEK_END)
        self._lines: list[str] = []

    def lines(self) -> list[str]:
        """Return all lines so far, without their prefix and with escapes undone."""
        while True:
            try:
                record = os.read(self._fd, 8192)
            except BlockingIOError:
                return self._lines
            except BrokenPipeError:  # overwritten before it was read: the next read goes on with the oldest left
                continue
            text = record.partition(b";")[2].partition(b"\n")[0]
            self._lines.append(re.sub(rb"\\x([0-9a-f]{2})", _unescape, text).decode("utf-8", "backslashreplace"))

    def reports(self) -> list[list[str]]:
        """Return the lines of each report that say something about processes and sizes, up to the kill."""
        found: list[list[str]] = [[]]
        for line in self.lines():
            if "invoked oom-killer" in line:
                found.append([])
            if any(part.search(line) for part in (INVOKED, MEMORY, TASK, SUMMARY, KILLED)):
                found[-1].append(line)
            if KILLED.search(line):
                found.append([])
        return found

    def kills(self) -> dict[int, LoggedKill]:
        """Return the kills in the log, by thread id (the log calls it pid)."""
        kills = [logged_kill(found) for found in map(KILLED.search, self.lines()) if found]
        return {kill.pid: kill for kill in kills}

    def summaries(self) -> dict[int, tuple[str, str]]:
        """Return (oom_memcg, task_memcg) by process."""
        found = (SUMMARY.search(line) for line in self.lines())
        return {int(m[5]): (m[2], m[3]) for m in found if m}

    def memory(self, pid: int) -> tuple[int, int]:
        """Return usage and limit in bytes of the cgroup because of which a process was killed."""
        usage = limit = 0
        for line in self.lines():
            if found := MEMORY.search(line):
                usage, limit = int(found["usage"]) * 1024, int(found["limit"]) * 1024
            elif (found := SUMMARY.search(line)) and int(found[5]) == pid:
                return usage, limit
        raise KeyError(pid)

    def task(self, pid: int) -> LoggedTask:
        """Return the row of a process from the last task table that lists it."""
        row = [m for m in map(TASK.search, self.lines()) if m and int(m["tgid"]) == pid][-1]
        page_tables = int(row["pgtables"]) // os.sysconf("SC_PAGE_SIZE")
        return LoggedTask(int(row["rss"]), int(row["swap"]), page_tables, int(row["adj"]))


def _unescape(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)])


def oom_kill_count() -> int:
    """Return how many kills the kernel has counted since boot."""
    found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE)
    assert found
    return int(found[1])
