# SPDX-License-Identifier: Apache-2.0
"""perf_event_open(2), which the buffer of each CPU takes: whether this process may call it."""

from __future__ import annotations

import ctypes
import errno
import os

SYSCALL = {"x86_64": 298, "aarch64": 241}
PERF_TYPE_SOFTWARE, PERF_COUNT_SW_BPF_OUTPUT = 1, 10  # include/uapi/linux/perf_event.h, as the next two
PERF_FLAG_FD_CLOEXEC = 8
ATTR_SIZE = 64
"""PERF_ATTR_SIZE_VER0."""


class _Attr(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("config", ctypes.c_uint64),
        ("rest", ctypes.c_uint8 * (ATTR_SIZE - 16)),
    )


def perf_error(cpu: int = 0) -> str:
    """Open a buffer's event on a CPU, and close it at once.

    Returns:
        Why it is not permitted, as strerror(3): EACCES for lack of a capability or because of
        kernel.perf_event_paranoid, EPERM because of a seccomp filter or security module; "" if it is permitted, or
        the CPU is offline.
    """
    number = SYSCALL.get(os.uname().machine)
    if number is None:
        return ""
    attr = _Attr(type=PERF_TYPE_SOFTWARE, size=ATTR_SIZE, config=PERF_COUNT_SW_BPF_OUTPUT)
    arguments = [ctypes.c_long(one) for one in (-1, cpu, -1, PERF_FLAG_FD_CLOEXEC)]  # all processes, no group
    fd = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), ctypes.byref(attr), *arguments)
    if fd >= 0:
        os.close(fd)
        return ""
    number = ctypes.get_errno()
    return os.strerror(number) if number in (errno.EACCES, errno.EPERM) else ""
