# SPDX-License-Identifier: Apache-2.0
"""bpf(2) without BCC: checking for fentry with BCC would take a compilation."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SYSCALL = {"x86_64": 321, "aarch64": 280}
PROG_LOAD, PROG_TYPE_RAW_TRACEPOINT, PROG_TYPE_TRACING, TRACE_FENTRY = 5, 17, 26, 24
RETURN_0 = bytes.fromhex("b7000000000000009500000000000000")  # r0 = 0; exit


class _ProgLoad(ctypes.Structure):
    """The members of union bpf_attr that BPF_PROG_LOAD reads (include/uapi/linux/bpf.h)."""

    _fields_ = (
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log", ctypes.c_uint32 * 4),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * 16),
        ("prog_ifindex", ctypes.c_uint32),
        ("expected_attach_type", ctypes.c_uint32),
        ("debug_info", ctypes.c_uint32 * 9),
        ("attach_btf_id", ctypes.c_uint32),
        ("attach_prog_fd", ctypes.c_uint32),
    )


def fentry_error(btf_id: int | None) -> str:
    """Load an empty fentry program for a function, and unload it at once.

    Args:
        btf_id: Id of the function's type in the kernel's BTF; None if it is not there.

    Returns:
        Why the kernel rejects it; "" if it accepts it.
    """
    number = SYSCALL.get(os.uname().machine)
    if btf_id is None or number is None:
        return "not described in BTF" if number else "unknown architecture"
    return _load(number, prog_type=PROG_TYPE_TRACING, expected_attach_type=TRACE_FENTRY, attach_btf_id=btf_id)


def load_error() -> str:
    """Load an empty program for a raw tracepoint, as this process may load it, and unload it at once.

    Returns:
        Why the kernel rejects it, for lack of a capability or because of a seccomp filter or security module; "" if it
        accepts it.
    """
    number = SYSCALL.get(os.uname().machine)
    return _load(number, prog_type=PROG_TYPE_RAW_TRACEPOINT) if number else ""  # unknown architecture: it shows later


def _load(number: int, **members: int) -> str:
    try:
        os.close(load_empty_program(number, **members))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def load_empty_program(number: int, **members: int) -> int:
    """Load a program that does nothing, and return its file descriptor.

    Args:
        number: That of bpf(2) on this machine, as in SYSCALL.
        members: Of union bpf_attr, beside the code.

    Raises:
        OSError: The kernel rejects it.
    """
    code = ctypes.create_string_buffer(RETURN_0)
    gpl = ctypes.create_string_buffer(b"GPL")
    attr = _ProgLoad(
        insn_cnt=len(RETURN_0) // 8,
        insns=ctypes.addressof(code),
        license=ctypes.addressof(gpl),
        **members,
    )
    with _unlimited_memlock():
        return bpf(number, PROG_LOAD, attr)


def bpf(number: int, command: int, attributes: ctypes.Structure) -> int:
    """Make the system call, with a command that returns a file descriptor; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(number, command, ctypes.byref(attributes), ctypes.sizeof(attributes))
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(fd)


@contextmanager
def _unlimited_memlock() -> Iterator[None]:
    """Lift the limit on locked memory where that is permitted, as BCC does to load programs.

    Before Linux 5.11 programs count as locked memory of the user, and beyond the limit loading one is EPERM.
    """
    before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, before)
