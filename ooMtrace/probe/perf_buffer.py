# SPDX-License-Identifier: Apache-2.0
"""The perf buffers through which the BPF programs send events: one for each CPU."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import Any

from ooMtrace.errors import ProbeError
from ooMtrace.probe.cpu_hotplug import CpuHotplug

TOTAL_SIZE = 16 << 20
"""Bytes for the buffers of all CPUs, within the limits for each; a kill sends two records of about 6 KiB."""

MIN_SIZE, MAX_SIZE = 256 << 10, 1 << 20
"""Bytes for the buffer of one CPU."""


class PerfBuffer:
    """The perf buffers of the BPF map `events`, from `open` to `close`."""

    def __init__(self) -> None:
        self._bpf: Any = None
        self._lib: Any = None
        self._records: list[bytes] = []
        self._lost = 0
        self._hotplug = CpuHotplug()

    def open(self, bpf: Any, lib: Any) -> None:  # noqa: ANN401 (BCC has no types)
        """Open the buffers of all CPUs that are online; raises what BCC raises.

        Args:
            bpf: BCC's object with the loaded programs.
            lib: BCC's C library.
        """
        self._bpf, self._lib = bpf, lib
        bpf["events"].open_perf_buffer(self._receive, page_cnt=buffer_pages(), lost_cb=self._count_lost)

    def close(self) -> None:
        """Stop listening for new CPUs. To be called before BCC's cleanup(), which frees the buffers."""
        self._bpf = self._lib = None
        self._hotplug.close()

    def fds(self) -> list[int]:
        """Return the file descriptors to poll: `read` when one is readable. A new CPU changes them."""
        readers = map(self._lib.perf_reader_fd, self._bpf.perf_buffers.values())
        return [*readers, *self._hotplug.fds()]

    def read(self) -> list[bytes]:
        """Return the records that have arrived since the last call, without blocking.

        BCC's perf_buffer_poll() calls poll(2), which reports a perf buffer as readable only once: after the caller has
        polled `fds` it would block. BCC 0.18 has no perf_buffer_consume().
        """
        for reader in self._bpf.perf_buffers.values():
            self._lib.perf_reader_event_read(ctypes.c_void_p(reader))
        for cpu in self._hotplug.new_cpus():
            with suppress(ProbeError):  # offline again: the kernel's count reveals what was lost
                self._renew(cpu)
        records, self._records = self._records, []
        return records

    def lost_records(self) -> int:
        """Return how many records did not fit into a buffer since it was opened."""
        return self._lost

    def _receive(self, _cpu: int, data: int, size: int) -> None:
        # Called from C, where exceptions are printed and lost: copy and do nothing else.
        self._records.append(ctypes.string_at(data, size))

    def _count_lost(self, count: int) -> None:
        self._lost += count

    def _renew(self, cpu: int) -> None:
        """Open the buffer of a CPU that has come online: it had none, or one that died when it went offline.

        BCC's open_perf_buffer() always opens those of all CPUs. Kills on this CPU before this call are lost, but the
        BPF programs count them.
        """
        table = self._bpf["events"]  # not kept: BCC frees the buffers when the last reference goes
        old = self._bpf.perf_buffers.pop((id(table), cpu), None)
        wakeup = (1,) if "wakeup_events" in table._open_perf_buffer.__code__.co_varnames else ()  # since BCC 0.21
        try:
            table._open_perf_buffer(cpu, self._receive, buffer_pages(), self._count_lost, *wakeup)
        except Exception as error:  # BCC raises nothing narrower
            raise ProbeError(f"cannot open the perf buffer of CPU {cpu}: {error}") from error
        finally:
            if old:  # freed last, so that the new buffer cannot have the same file descriptor
                self._lib.perf_reader_free(ctypes.c_void_p(old))


def buffer_pages(cpus: int | None = None) -> int:
    """Return the size of each CPU's perf buffer in pages: a power of two, 256 KiB to 1 MiB."""
    size = min(max(TOTAL_SIZE // (cpus or os.cpu_count() or 1), MIN_SIZE), MAX_SIZE)
    return 1 << (size // os.sysconf("SC_PAGE_SIZE")).bit_length() - 1
