# SPDX-License-Identifier: Apache-2.0
"""A fake of BCC that records what the loader does with it and delivers perf records on demand."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from itertools import count
from types import SimpleNamespace

import pytest

CPUS = (0, 1)


class BccError(Exception):
    """BCC raises plain exceptions."""


class FakeTable:
    """A BPF map; its perf buffers have readers, which are numbered 100 + CPU, or the next free one of 200 + CPU etc."""

    def __init__(self, bcc: FakeBcc, name: str) -> None:
        self.bcc = bcc
        self.name = name

    def open_perf_buffer(self, callback: Callable[..., None], page_cnt: int, lost_cb: Callable[[int], None]) -> None:
        self.bcc.do("open_perf_buffer", self.name)
        for cpu in CPUS:
            self._open_perf_buffer(cpu, callback, page_cnt, lost_cb, 1)

    def _open_perf_buffer(self, cpu, callback, page_cnt, lost_cb, wakeup_events):  # BCC's own signature
        self.bcc.do("open_cpu", cpu, page_cnt, wakeup_events)
        reader = next(number for number in count(100 + cpu, 100) if number not in self.bcc.readers)
        self.bcc.readers[reader] = (cpu, callback, lost_cb)
        self.bcc.bpf.perf_buffers[(id(self), cpu)] = reader

    def __del__(self) -> None:
        if self.name == "events":
            self.bcc.calls.append(("free_buffers",))

    def __getitem__(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(kills=self.bcc.kills)

    def __setitem__(self, index: ctypes.c_int, fd: ctypes.c_int) -> None:
        self.bcc.do("set", self.name, index.value, fd.value)


class OldTable(FakeTable):
    """As in BCC before 0.21, which had no `wakeup_events`."""

    def _open_perf_buffer(self, cpu, callback, page_cnt, lost_cb):  # type: ignore[override]
        super()._open_perf_buffer(cpu, callback, page_cnt, lost_cb, None)

    def open_perf_buffer(self, callback, page_cnt, lost_cb):
        for cpu in CPUS:
            self._open_perf_buffer(cpu, callback, page_cnt, lost_cb)


class FakeBpf:
    KPROBE, TRACEPOINT, RAW_TRACEPOINT, TRACING = 2, 5, 17, 26
    bcc: FakeBcc

    def __init__(self, text: bytes, cflags: list[str]) -> None:
        bcc = self.bcc
        bcc.bpf = self
        bcc.cflags = cflags
        bcc.environment = {name: os.environ.get(name) for name in ("BCC_KERNEL_SOURCE", "ARCH")}
        self.perf_buffers: dict[tuple[int, int], int] = {}
        self.tables: dict[str, FakeTable] = {}
        bcc.do("compile", text)

    def __getitem__(self, name: str) -> FakeTable:
        if name not in self.tables:
            self.tables[name] = self.bcc.table(self.bcc, name)
        return self.tables[name]

    def load_func(self, name: bytes, kind: int) -> SimpleNamespace:
        self.bcc.do("load", name, kind)
        return SimpleNamespace(fd=50 + len(name))

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not name.startswith("attach_"):
            raise AttributeError(name)
        return lambda **arguments: self.bcc.do(name, *arguments.items())

    def cleanup(self) -> None:
        self.tables.clear()  # frees the perf buffers, if nobody else has a reference to the map
        self.bcc.do("cleanup")


class FakeBcc:
    """The module: `calls` is what was done, `fail` the name of the call that fails, `output` what it prints first."""

    __version__ = "0.26.0"

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.fail = ""
        self.output = b""
        self.message = ""
        self.kills = 0
        self.cflags: list[str] = []
        self.environment: dict[str, str | None] = {}
        self.table: type[FakeTable] = FakeTable
        self.readers: dict[int, tuple[int, Callable[..., None], Callable[[int], None]]] = {}
        self.pending: list[tuple[int, bytes]] = []
        self.bpf: FakeBpf = None
        self.BPF = type("BPF", (FakeBpf,), {"bcc": self})
        self.lib = SimpleNamespace(
            perf_reader_fd=lambda reader: reader + 1000,
            perf_reader_event_read=self.event_read,
            perf_reader_free=lambda reader: self.do("free", reader.value),
        )

    def do(self, *call: object) -> None:
        self.calls.append(call)
        if self.fail == call[0]:
            os.write(1, self.output)
            raise BccError(self.message or f"{call[0]}\n failed")

    def become_older_than_0_21(self) -> None:
        self.table = OldTable

    def names(self) -> list[object]:
        return [name for name, *_ in self.calls]

    def event_read(self, reader: ctypes.c_void_p) -> None:
        cpu, callback, _ = self.readers[reader.value]
        for sent in [sent for sent in self.pending if sent[0] in (cpu, reader.value)]:
            self.pending.remove(sent)
            record = sent[1]
            buffer = ctypes.create_string_buffer(record, len(record))
            callback(cpu, ctypes.addressof(buffer), len(record))
            ctypes.memset(buffer, 0xAA, len(record))  # the kernel reuses it

    def send(self, reader: int, record: bytes) -> None:
        self.pending.append((reader, record))

    def lose(self, reader: int, count: int) -> None:
        self.readers[reader][2](count)


@pytest.fixture
def fake_bcc(monkeypatch: pytest.MonkeyPatch) -> FakeBcc:
    bcc = FakeBcc()
    monkeypatch.setitem(sys.modules, "bcc", bcc)
    return bcc
