# SPDX-License-Identifier: Apache-2.0
"""The kernel's measurement of BPF programs, and an empty program, which shows what the measurement itself costs."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ooMtrace.kernel.bpf_syscall import PROG_TYPE_RAW_TRACEPOINT, SYSCALL, bpf, load_empty_program

RAW_TRACEPOINT_OPEN, ENABLE_STATS = 17, 32


class _RawTracepointOpen(ctypes.Structure):
    _fields_ = (("name", ctypes.c_uint64), ("prog_fd", ctypes.c_uint32), ("pad", ctypes.c_uint32))


class _EnableStats(ctypes.Structure):
    _fields_ = (("type", ctypes.c_uint32),)


@contextmanager
def bpf_statistics() -> Iterator[None]:
    """Let the kernel measure BPF programs until the end of the block, even if others turn that off (since 5.8).

    Raises:
        OSError: The kernel refused it.
    """
    enabled = bpf(SYSCALL[os.uname().machine], ENABLE_STATS, _EnableStats())
    try:
        yield
    finally:
        os.close(enabled)


@contextmanager
def empty_program(tracepoint: str) -> Iterator[int]:
    """Attach an empty program until the end of the block; yields its file descriptor.

    Raises:
        OSError: The kernel refused it.
    """
    number = SYSCALL[os.uname().machine]
    name = ctypes.create_string_buffer(tracepoint.encode())
    program = load_empty_program(number, prog_type=PROG_TYPE_RAW_TRACEPOINT)
    try:
        attached = bpf(number, RAW_TRACEPOINT_OPEN, _RawTracepointOpen(name=ctypes.addressof(name), prog_fd=program))
        try:
            yield program
        finally:
            os.close(attached)
    finally:
        os.close(program)
