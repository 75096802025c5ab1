# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ctypes
import errno
import os
import resource
from typing import Any

import pytest

from ooMtrace.kernel import bpf_syscall

LIMIT, UNLIMITED = (65536, 65536), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class FakeLibc:
    """Refuses a program beyond a limit on locked memory, as kernels before 5.11 do."""

    def __init__(self, limit: list[tuple[int, int]]) -> None:
        self.limit = limit

    def syscall(self, *_: Any) -> int:
        if self.limit[-1] == UNLIMITED:
            return os.open("/dev/null", os.O_RDONLY)
        ctypes.set_errno(errno.EPERM)
        return -1


@pytest.mark.parametrize(
    ("is_permitted", "expected"), [(True, ""), (False, os.strerror(errno.EPERM))], ids=["permitted", "not permitted"]
)
def test_the_limit_on_locked_memory_is_lifted_for_the_attempt_and_restored(monkeypatch, is_permitted, expected):
    limits = [LIMIT]

    def set_limit(_: int, limit: tuple[int, int]) -> None:
        if limit == UNLIMITED and not is_permitted:
            raise ValueError("not allowed to raise maximum limit")
        limits.append(limit)

    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: FakeLibc(limits))

    assert bpf_syscall.load_error() == expected
    assert limits == ([LIMIT, UNLIMITED, LIMIT] if is_permitted else [LIMIT, LIMIT])
