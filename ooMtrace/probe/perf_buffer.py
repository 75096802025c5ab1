# SPDX-License-Identifier: Apache-2.0
"""The perf buffers through which the BPF programs send events: one for each map and CPU."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from ooMtrace.errors import ProbeError
from ooMtrace.probe.cpu_hotplug import CpuHotplug

EVENTS = "events"
"""The BPF map for kills and what belongs to them."""

TOTAL_SIZE = 16 << 20
"""Bytes for the buffers for kills of all CPUs, within the limits for each; a kill sends two records of about 6 KiB."""

MIN_SIZE, MAX_SIZE = 256 << 10, 1 << 20
"""Bytes for the buffer for kills of one CPU."""


class PerfBuffers:
    """The perf buffers of BPF maps, one for each map and CPU, from `open` to `close`.

    The buffer of the map `events` is for kills. What is sent through another one never displaces a kill, is not read
    with the kills and is not counted with what was lost of them.

    Args:
        auxiliary: The other maps, with the size of each CPU's buffer in bytes.
    """

    def __init__(self, auxiliary: Mapping[str, int] = MappingProxyType({})) -> None:
        self._bpf: Any = None
        self._lib: Any = None
        pages = {EVENTS: buffer_pages(), **{name: _pages(size) for name, size in auxiliary.items()}}
        self._buffers = {name: _MapBuffer(name, count) for name, count in pages.items()}
        self._hotplug = CpuHotplug()

    def open(self, bpf: Any, lib: Any) -> None:  # noqa: ANN401 (BCC has no types)
        """Open the buffers of all CPUs that are online; raises what BCC raises.

        Args:
            bpf: BCC's object with the loaded programs.
            lib: BCC's C library.
        """
        self._bpf, self._lib = bpf, lib
        for buffer in self._buffers.values():
            buffer.open(bpf)

    def close(self) -> None:
        """Stop listening for new CPUs. To be called before BCC's cleanup(), which frees the buffers."""
        self._bpf = self._lib = None
        self._hotplug.close()

    def fds(self) -> list[int]:
        """Return the file descriptors to poll: `read` each map when one is readable. A new CPU changes them."""
        readers = map(self._lib.perf_reader_fd, self._bpf.perf_buffers.values())
        return [*readers, *self._hotplug.fds()]

    def read(self, name: str = EVENTS) -> list[bytes]:
        """Return the records of a map that have arrived since the last call, without blocking; none of an unknown map.

        BCC's perf_buffer_poll() calls poll(2), which reports a perf buffer as readable only once: after the caller has
        polled `fds` it would block. BCC 0.18 has no perf_buffer_consume().
        """
        buffer = self._buffers.get(name)
        if buffer is None:
            return []
        for reader in buffer.readers(self._bpf):
            self._lib.perf_reader_event_read(ctypes.c_void_p(reader))
        for cpu in self._hotplug.new_cpus():
            for each in self._buffers.values():
                with suppress(ProbeError):  # offline again: the kernel's count reveals what was lost
                    each.renew(self._bpf, self._lib, cpu)
        return buffer.take()

    def lost_records(self, name: str = EVENTS) -> int:
        """Return how many records of a map did not fit into a buffer since it was opened."""
        return self._buffers[name].lost


class _MapBuffer:
    """The perf buffers of one BPF map.

    BCC's object of the map is never kept: BCC frees the buffers when the last reference goes.
    """

    def __init__(self, name: str, pages: int) -> None:
        self.lost = 0
        self._name = name
        self._pages = pages
        self._records: list[bytes] = []

    def open(self, bpf: Any) -> None:  # noqa: ANN401
        bpf[self._name].open_perf_buffer(self._receive, page_cnt=self._pages, lost_cb=self._count_lost)

    def readers(self, bpf: Any) -> list[int]:  # noqa: ANN401
        table = id(bpf[self._name])
        return [reader for (owner, _), reader in bpf.perf_buffers.items() if owner == table]

    def take(self) -> list[bytes]:
        records, self._records = self._records, []
        return records

    def renew(self, bpf: Any, lib: Any, cpu: int) -> None:  # noqa: ANN401
        """Open the buffer of a CPU that has come online: it had none, or one that died when it went offline.

        BCC's open_perf_buffer() always opens those of all CPUs. Kills on this CPU before this call are lost, but the
        BPF programs count them.
        """
        table = bpf[self._name]
        old = bpf.perf_buffers.pop((id(table), cpu), None)
        wakeup = (1,) if "wakeup_events" in table._open_perf_buffer.__code__.co_varnames else ()  # since BCC 0.21
        try:
            table._open_perf_buffer(cpu, self._receive, self._pages, self._count_lost, *wakeup)
        except Exception as error:  # BCC raises nothing narrower
            raise ProbeError(f"cannot open the perf buffer of CPU {cpu}: {error}") from error
        finally:
            if old:  # freed last, so that the new buffer cannot have the same file descriptor
                lib.perf_reader_free(ctypes.c_void_p(old))

    def _receive(self, _cpu: int, data: int, size: int) -> None:
        # Called from C, where exceptions are printed and lost: copy and do nothing else.
        self._records.append(ctypes.string_at(data, size))

    def _count_lost(self, count: int) -> None:
        self.lost += count


def buffer_pages(cpus: int | None = None) -> int:
    """Return the size of each CPU's perf buffer for kills in pages: a power of two, 256 KiB to 1 MiB."""
    return _pages(min(max(TOTAL_SIZE // (cpus or os.cpu_count() or 1), MIN_SIZE), MAX_SIZE))


def _pages(size: int) -> int:
    """Return a size in pages, rounded down to a power of two as perf_event_open(2) requires; at least one page."""
    return 1 << max(size // os.sysconf("SC_PAGE_SIZE"), 1).bit_length() - 1
