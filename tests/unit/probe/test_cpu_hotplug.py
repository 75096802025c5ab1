# SPDX-License-Identifier: Apache-2.0
"""A CPU that comes is heard of, and nothing else that the kernel tells over netlink wakes us."""

from __future__ import annotations

import os
import select
import socket
import struct
from ctypes import addressof, create_string_buffer

import pytest

from ooMtrace.probe import cpu_hotplug


@pytest.mark.parametrize(
    ("message", "cpu"),
    [
        (b"online@/devices/system/cpu/cpu12\0ACTION=online\0", 12),
        (b"online@/devices/system/memory/memory3\0ACTION=online\0", None),
        (b"offline@/devices/system/cpu/cpu1\0ACTION=offline\0", None),
        (b"add@/devices/virtual/net/veth1\0ACTION=add\0", None),
    ],
)
def test_the_filter_lets_through_what_comes_online_and_the_rest_looks_for_cpus(message, cpu):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    code = create_string_buffer(cpu_hotplug.FILTER, len(cpu_hotplug.FILTER))
    program = struct.pack("HP", len(cpu_hotplug.FILTER) // 8, addressof(code))
    ours.setsockopt(socket.SOL_SOCKET, cpu_hotplug.SO_ATTACH_FILTER, program)
    theirs.send(message)

    readable = bool(select.select([ours], [], [], 0)[0])

    assert readable == message.startswith(b"onli")
    watch = cpu_hotplug.Hotplug()
    watch.close()
    watch._socket = ours
    assert watch.came() == ([] if cpu is None else [cpu])
    theirs.close()
    watch.close()


def test_where_nothing_can_be_heard_nothing_fails(monkeypatch):
    def refuse(*_: object) -> socket.socket:
        raise PermissionError

    monkeypatch.setattr(cpu_hotplug.socket, "socket", refuse)
    watch = cpu_hotplug.Hotplug()

    assert watch.fds() == []
    assert watch.came() == []
    watch.close()


def test_it_listens_until_it_is_closed():
    watch = cpu_hotplug.Hotplug()
    (fd,) = watch.fds()
    assert os.fstat(fd)
    assert watch.came() == []
    watch.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
