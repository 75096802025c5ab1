# SPDX-License-Identifier: Apache-2.0
"""Decoding of the events of SIGKILLs."""

from __future__ import annotations

import ctypes

import pytest

from ooMtrace.errors import DecodeError
from ooMtrace.events import Task
from ooMtrace.probe import wire
from ooMtrace.probe.decode import decode_sigkill


def raw(**changes: int) -> wire.Sigkill:
    """An event without strings; every number that is not given is unknown."""
    event = wire.Sigkill()
    numbers = ctypes.cast(ctypes.pointer(event), ctypes.POINTER(ctypes.c_int64))
    for index in range(wire.Sigkill.exec_args.offset // 8):
        numbers[index] = wire.UNKNOWN
    for task in (event.sender, event.victim.task, event.victim.parent):
        task.comm = b""
    event.victim.nodename = b""
    event.kind, event.ktime = wire.KIND_SIGKILL, 4000
    for name, value in changes.items():
        setattr(event, name, value)
    return event


def test_what_could_not_be_read_is_none():
    found = decode_sigkill(bytes(raw()))

    assert (found.ktime, found.cgroup_kill, found.sender) == (4000, False, Task(None, None, None, None))
    assert (found.memcg_id, found.memcg_path, found.unified_path, found.sender_memcg_path) == (None, None, None, None)
    assert (found.exec_args, found.victim.uid, found.sender_uid) == (None, None, None)


def test_the_paths_are_those_of_victim_and_sender_in_this_order():
    event = raw(memcg_id=5, unified_id=6, memcg_path=2, unified_path=4, sender_memcg_path=2, sender_unified_path=0)

    found = decode_sigkill(bytes(event) + b"a\0b\0c\0d\0padding")

    assert (found.memcg_path, found.unified_path) == (("a",), ("b", "c"))
    assert (found.sender_memcg_path, found.sender_unified_path) == (("d",), ())


def test_sender_arguments_and_cgroup_kill_are_decoded():
    event = raw(cgroup_kill=1, sender_uid=998, exec_size=5)
    event.sender.pid, event.sender.comm = 512, b"systemd-oomd"
    ctypes.memmove(ctypes.addressof(event) + wire.Sigkill.exec_args.offset, b"a\0bc\0", 5)

    found = decode_sigkill(bytes(event))

    assert found.cgroup_kill
    assert (found.sender.pid, found.sender.comm, found.sender_uid) == (512, "systemd-oomd", 998)
    assert found.exec_args == (b"a\0bc\0", 5)


@pytest.mark.parametrize(
    "data", [b"", bytes(raw())[:-1], bytes(raw(kind=3)), bytes(raw(memcg_path=1)), bytes(raw(memcg_path=-1))]
)
def test_a_record_of_another_layout_is_an_error(data):
    with pytest.raises(DecodeError):
        decode_sigkill(data)
