# SPDX-License-Identifier: Apache-2.0
"""Capabilities that are not needed once the probes are attached are dropped, so that no bug can use them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from enum import IntEnum

VERSION_3 = 0x20080522  # include/uapi/linux/capability.h, as all that follows, and include/uapi/linux/prctl.h
PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
WORDS = 2
NUMBERS = range(WORDS * 32)


class Capability(IntEnum):
    """The capabilities that may be needed after start-up; docs/security.md states what each is for."""

    DAC_OVERRIDE = 1
    IPC_LOCK = 14
    SYS_PTRACE = 19
    SYS_ADMIN = 21
    SYSLOG = 34
    PERFMON = 38
    BPF = 39


BPF_ITSELF = (Capability.BPF, Capability.PERFMON)
"""Since Linux 5.8; before, CAP_SYS_ADMIN stands for both."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def needed(*, network: bool, files: bool, has_bpf: bool) -> frozenset[Capability]:
    """Return the capabilities that are needed while tracing.

    Args:
        network: Whether other network namespaces are looked up and entered.
        files: Whether files are reopened or removed, in directories that may belong to another user.
        has_bpf: Whether the kernel has CAP_BPF and CAP_PERFMON.
    """
    kept = {Capability.IPC_LOCK, Capability.SYSLOG, *(BPF_ITSELF if has_bpf else (Capability.SYS_ADMIN,))}
    if network:
        kept |= {Capability.SYS_PTRACE, Capability.SYS_ADMIN}
    if files:
        kept |= {Capability.DAC_OVERRIDE}
    return frozenset(kept)


def effective() -> frozenset[Capability]:
    """Return the effective capabilities of this thread."""
    low, high = _sets()
    mask = low.effective | high.effective << 32
    return frozenset(one for one in Capability if mask >> one & 1)


def has_bpf() -> bool:
    """Say whether this kernel has CAP_BPF, and so CAP_PERFMON (Linux 5.8)."""
    return _prctl(PR_CAPBSET_READ, Capability.BPF) >= 0


def drop_all_but(kept: frozenset[Capability], warn: Callable[[str], None]) -> None:
    """Drop all other capabilities for good, in this thread and all that it starts; those of newer kernels, too.

    Where the kernel refuses, everything stays as it is, and `warn` gets the reason.
    """
    try:
        _prctl(PR_SET_NO_NEW_PRIVS, 1)
        _lower_bounds(kept)
        _lower_sets(sum(1 << one for one in kept))
    except OSError as error:
        reason = f"{error.strerror}: {os.strerror(error.errno or 0)}"
        warn(f"cannot drop capabilities ({reason}); check whether a seccomp policy forbids prctl or capset")


def _lower_bounds(kept: frozenset[Capability]) -> None:
    """Lower the bounding set. It takes CAP_SETPCAP; a process without that has little to pass on anyway."""
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for number in NUMBERS:
        if number not in kept and _prctl(PR_CAPBSET_READ, number) == 1:
            _prctl(PR_CAPBSET_DROP, number)


def _lower_sets(mask: int) -> None:
    sets = _sets()
    for word, current in enumerate(sets):
        part = mask >> 32 * word & 0xFFFFFFFF
        sets[word] = _Sets(current.effective & part, current.permitted & part, 0)
    if _libc().capset(ctypes.byref(_Header(VERSION_3, 0)), sets):
        raise OSError(ctypes.get_errno(), "capset")


def _sets() -> ctypes.Array[_Sets]:
    sets = (_Sets * WORDS)()
    if _libc().capget(ctypes.byref(_Header(VERSION_3, 0)), sets):
        raise OSError(ctypes.get_errno(), "capget")
    return sets


def _prctl(option: int, argument: int) -> int:
    unsigned = [ctypes.c_ulong(one) for one in (argument, 0, 0, 0)]
    return int(_libc().prctl(option, *unsigned))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
