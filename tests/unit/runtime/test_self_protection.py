# SPDX-License-Identifier: Apache-2.0
"""The tracer exempts itself from the OOM killer and locks its memory, and warns where it may not."""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path

import pytest

from ooMtrace.runtime import self_protection
from ooMtrace.runtime.capabilities import Capability
from ooMtrace.runtime.self_protection import lock_memory, lower_oom_score


def proc(folder: Path, adj: str) -> Path:
    (folder / "self").mkdir()
    (folder / "self/oom_score_adj").write_text(adj)
    return folder


@pytest.mark.parametrize(
    ("before", "after"),
    [("0\n", "-1000\n"), ("1000\n", "-1000\n"), ("-899\n", "-1000\n"), ("-900\n", "-900\n"), ("-1000\n", "-1000\n")],
)
def test_it_lowers_its_oom_score_adj_unless_that_was_done_for_it(tmp_path, before, after):
    lower_oom_score(pytest.fail, proc(tmp_path, before))

    assert (tmp_path / "self/oom_score_adj").read_text() == after


def test_where_it_may_not_it_says_how_to_do_it(tmp_path, monkeypatch):
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    proc(tmp_path, "0\n")
    monkeypatch.setattr(Path, "write_text", refuse)
    warnings: list[str] = []

    lower_oom_score(warnings.append, tmp_path)

    assert warnings == [
        "the OOM killer may kill oomtrace, too (oom_score_adj: Permission denied); "
        f"set OOMScoreAdjust=-1000 in its unit, or run: choom -n -1000 -p {os.getpid()}"
    ]


def test_without_the_right_to_lock_nothing_is_locked(monkeypatch):
    monkeypatch.setattr(self_protection, "effective", frozenset)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8 << 20, 8 << 20))
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: pytest.fail("locked"))
    warnings: list[str] = []

    lock_memory(warnings.append)

    assert warnings == ["cannot lock memory; events may be delayed under memory pressure; give it CAP_IPC_LOCK"]


class FakeLibc:
    def __init__(self, result: int = 0) -> None:
        self.result = result
        self.flags: list[int] = []

    def mlockall(self, flags: int) -> int:
        self.flags.append(flags)
        return self.result


@pytest.mark.parametrize(
    ("limit", "capabilities"),
    [(resource.RLIM_INFINITY, frozenset()), (8 << 20, frozenset({Capability.IPC_LOCK}))],
)
def test_memory_is_locked_as_it_is_used(monkeypatch, limit, capabilities):
    libc = FakeLibc()
    monkeypatch.setattr(self_protection, "effective", lambda: capabilities)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: libc)

    lock_memory(pytest.fail)

    assert libc.flags == [1 | 2 | 4]  # MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT


def test_where_locking_fails_the_reason_is_shown(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: FakeLibc(-1))
    monkeypatch.setattr("ctypes.get_errno", lambda: 1)
    warnings: list[str] = []

    lock_memory(warnings.append)

    assert warnings == [
        "cannot lock memory (mlockall: Operation not permitted); events may be delayed under memory pressure"
    ]
