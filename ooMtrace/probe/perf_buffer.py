# SPDX-License-Identifier: Apache-2.0
"""The perf buffers through which the BPF programs send events: one for each map and CPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from ooMtrace.errors import ProbeError
from ooMtrace.kernel.perf_syscall import perf_error
from ooMtrace.probe.cpu_hotplug import CpuHotplug
from ooMtrace.probe.libbcc_bpf import Map, PerfReader

EVENTS = "events"
"""The BPF map for kills and what belongs to them."""

TOTAL_SIZE = 16 << 20
"""Bytes for the buffers for kills of all CPUs, within the limits for each; a kill sends two records of about 6 KiB."""

MIN_SIZE, MAX_SIZE = 256 << 10, 1 << 20
"""Bytes for the buffer for kills of one CPU."""

NOT_TRACED = (
    "CPU {cpu} has come online and cannot be traced ({reason}): kills on it are read from the kernel log when "
    "something dies on another CPU; restart oomtrace, which traces all CPUs that are online then"
)


class PerfBuffers:
    """The perf buffers of BPF maps, one for each map and CPU, from `open` to `close`.

    The buffer of the map `events` is for kills. What is sent through another one never displaces a kill, is not read
    with the kills and is not counted with what was lost of them.

    Args:
        auxiliary: The other maps, with the size of each CPU's buffer in bytes.
        warn: Takes one line about a CPU that came online and cannot be traced.
    """

    def __init__(
        self, auxiliary: Mapping[str, int] = MappingProxyType({}), warn: Callable[[str], None] | None = None
    ) -> None:
        pages = {EVENTS: buffer_pages(), **{name: _pages(size) for name, size in auxiliary.items()}}
        self._buffers = {name: _MapBuffer(count) for name, count in pages.items()}
        self._hotplug = CpuHotplug()
        self._warn = warn

    def open(self, maps: Mapping[str, Map]) -> None:
        """Open the buffers of all CPUs that are online.

        Args:
            maps: The maps by their names.

        Raises:
            ProbeError: The kernel refused one.
        """
        for name, buffer in self._buffers.items():
            buffer.open(maps[name])

    def close(self) -> None:
        """Free the buffers and stop listening for new CPUs."""
        for buffer in self._buffers.values():
            buffer.close()
        self._hotplug.close()

    def fds(self) -> list[int]:
        """Return the file descriptors to poll: `read` each map when one is readable. A new CPU changes them."""
        return [*(fd for buffer in self._buffers.values() for fd in buffer.fds()), *self._hotplug.fds()]

    def read(self, name: str = EVENTS) -> list[bytes]:
        """Return a map's records that have arrived since the last call, without blocking; none of an unknown map."""
        if name not in self._buffers:
            return []
        self._buffers[name].read()
        for cpu in self._hotplug.new_cpus():
            self._renew(cpu)
        return self._buffers[name].take()

    def lost_records(self, name: str = EVENTS) -> int:
        """Return how many records of a map did not fit into a buffer since it was opened."""
        return self._buffers[name].lost

    def _renew(self, cpu: int) -> None:
        """Open the buffers of a CPU that has come online; warn where that fails, unless it is offline again.

        Without CAP_SYS_ADMIN, Debian's kernels refuse it at their default of kernel.perf_event_paranoid, 3.
        """
        problem = perf_error(cpu)  # first, because BCC's library prints a message of its own about a refusal
        for buffer in self._buffers.values():
            if problem:
                buffer.discard(cpu)
                continue
            try:
                buffer.renew(cpu)
            except ProbeError as error:  # the kernel's count reveals what was lost
                problem = str(error) if cpu in online_cpus() else ""
        if problem and self._warn:
            self._warn(NOT_TRACED.format(cpu=cpu, reason=problem))


class _MapBuffer:
    """The perf buffers of one BPF map."""

    def __init__(self, pages: int) -> None:
        self.lost = 0
        self._pages = pages
        self._map: Map | None = None
        self._readers: dict[int, PerfReader] = {}
        self._records: list[bytes] = []

    def open(self, events: Map) -> None:
        self._map = events
        for cpu in online_cpus():
            self._open_cpu(cpu)

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def fds(self) -> list[int]:
        return [reader.fd for reader in self._readers.values()]

    def read(self) -> None:
        for reader in self._readers.values():
            reader.read()

    def take(self) -> list[bytes]:
        records, self._records = self._records, []
        return records

    def renew(self, cpu: int) -> None:
        """Open the buffer of a CPU that has come online: it had none, or one that died when it went offline.

        Kills on this CPU before this call are lost, but the BPF programs count them.
        """
        old = self._readers.pop(cpu, None)
        try:
            self._open_cpu(cpu)
        finally:
            if old:  # freed last, so that the new buffer cannot have the same file descriptor
                old.close()

    def discard(self, cpu: int) -> None:
        """Free the buffer of a CPU, if there is one."""
        if old := self._readers.pop(cpu, None):
            old.close()

    def _open_cpu(self, cpu: int) -> None:
        assert self._map is not None
        reader = PerfReader(cpu, self._pages, self._receive, self._count_lost)
        self._readers[cpu] = reader
        self._map.update(cpu.to_bytes(4, sys.byteorder), reader.fd.to_bytes(4, sys.byteorder))

    def _receive(self, record: bytes) -> None:
        self._records.append(record)

    def _count_lost(self, count: int) -> None:
        self.lost += count


def online_cpus(sys_dir: Path = Path("/sys")) -> list[int]:
    """Return the numbers of the CPUs that are online; those below their count where /sys does not state them."""
    try:
        ranges = (sys_dir / "devices/system/cpu/online").read_text().strip().split(",")
        bounds = [(int(part.split("-")[0]), int(part.split("-")[-1])) for part in ranges]
    except (OSError, ValueError):
        return list(range(os.cpu_count() or 1))
    return [cpu for first, last in bounds for cpu in range(first, last + 1)]


def buffer_pages(cpus: int | None = None) -> int:
    """Return the size of each CPU's perf buffer for kills in pages: a power of two, 256 KiB to 1 MiB."""
    return _pages(min(max(TOTAL_SIZE // (cpus or os.cpu_count() or 1), MIN_SIZE), MAX_SIZE))


def _pages(size: int) -> int:
    """Return a size in pages, rounded down to a power of two as perf_event_open(2) requires; at least one page."""
    return 1 << max(size // os.sysconf("SC_PAGE_SIZE"), 1).bit_length() - 1
