# SPDX-License-Identifier: Apache-2.0
"""What root may do and we need no longer: given up once the probes are attached, so that no mistake can use it."""

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
    """Those that may be of use after the start; docs/security.md says of each what for."""

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
    """Return what is needed from now on.

    Args:
        network: Other network namespaces are found and entered.
        files: There are files to open anew or to take away, in folders that may be somebody else's.
        has_bpf: The kernel knows CAP_BPF and CAP_PERFMON.
    """
    kept = {Capability.IPC_LOCK, Capability.SYSLOG, *(BPF_ITSELF if has_bpf else (Capability.SYS_ADMIN,))}
    if network:
        kept |= {Capability.SYS_PTRACE, Capability.SYS_ADMIN}
    if files:
        kept |= {Capability.DAC_OVERRIDE}
    return frozenset(kept)


def effective() -> frozenset[Capability]:
    """Return those that this thread has now."""
    low, high = _sets()
    mask = low.effective | high.effective << 32
    return frozenset(one for one in Capability if mask >> one & 1)


def has_bpf() -> bool:
    """Tell whether this kernel knows CAP_BPF, and so CAP_PERFMON."""
    return _prctl(PR_CAPBSET_READ, Capability.BPF) >= 0


def drop_all_but(kept: frozenset[Capability], warn: Callable[[str], None]) -> None:
    """Give up all other capabilities for good, in this thread and all that it starts; those of newer kernels, too.

    Where the kernel refuses we go on as we are, and say so.
    """
    try:
        _prctl(PR_SET_NO_NEW_PRIVS, 1)
        _lower_bounds(kept)
        _lower_sets(sum(1 << one for one in kept))
    except OSError as error:
        reason = f"{error.strerror}: {os.strerror(error.errno or 0)}"
        warn(f"root's privileges are kept ({reason}); see whether a seccomp policy forbids to give them up")


def _lower_bounds(kept: frozenset[Capability]) -> None:
    """What no program that we start may have: only CAP_SETPCAP can, and who has not got it starts as less anyway."""
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for number in NUMBERS:
        if number not in kept and _prctl(PR_CAPBSET_READ, number) == 1:
            _prctl(PR_CAPBSET_DROP, number)


def _lower_sets(mask: int) -> None:
    sets = _sets()
    for word, now in enumerate(sets):
        part = mask >> 32 * word & 0xFFFFFFFF
        sets[word] = _Sets(now.effective & part, now.permitted & part, 0)
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
