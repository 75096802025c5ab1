# SPDX-License-Identifier: Apache-2.0
"""The kernel's measurement of BPF programs, and an empty program, which shows what the measurement itself costs."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

SYSCALL = {"x86_64": 321, "aarch64": 280}
PROG_LOAD, RAW_TRACEPOINT_OPEN, ENABLE_STATS = 5, 17, 32
PROG_TYPE_RAW_TRACEPOINT = 17
RETURN_0 = bytes.fromhex("b7000000000000009500000000000000")  # r0 = 0; exit


class _ProgLoad(ctypes.Structure):
    """The members of union bpf_attr that BPF_PROG_LOAD needs (include/uapi/linux/bpf.h)."""

    _fields_ = (
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("more", ctypes.c_uint32 * 20),
    )


class _RawTracepointOpen(ctypes.Structure):
    _fields_ = (("name", ctypes.c_uint64), ("prog_fd", ctypes.c_uint32), ("pad", ctypes.c_uint32))


class _EnableStats(ctypes.Structure):
    _fields_ = (("type", ctypes.c_uint32),)


@contextmanager
def bpf_statistics() -> Iterator[None]:
    """Let the kernel measure BPF programs until the end of the block, whoever else turns that on or off (since 5.8).

    Raises:
        OSError: The kernel refused it.
    """
    enabled = _bpf(ENABLE_STATS, _EnableStats())
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
    code, gpl = ctypes.create_string_buffer(RETURN_0), ctypes.create_string_buffer(b"GPL")
    name = ctypes.create_string_buffer(tracepoint.encode())
    program = _bpf(
        PROG_LOAD,
        _ProgLoad(
            prog_type=PROG_TYPE_RAW_TRACEPOINT,
            insn_cnt=len(RETURN_0) // 8,
            insns=ctypes.addressof(code),
            license=ctypes.addressof(gpl),
        ),
    )
    try:
        attached = _bpf(RAW_TRACEPOINT_OPEN, _RawTracepointOpen(name=ctypes.addressof(name), prog_fd=program))
        try:
            yield program
        finally:
            os.close(attached)
    finally:
        os.close(program)


def _bpf(command: int, attributes: ctypes.Structure) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    number = SYSCALL[os.uname().machine]
    descriptor = libc.syscall(number, command, ctypes.byref(attributes), ctypes.sizeof(attributes))
    if descriptor < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(descriptor)
