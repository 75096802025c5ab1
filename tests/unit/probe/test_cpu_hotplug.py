# SPDX-License-Identifier: Apache-2.0
"""CPU hotplug: a CPU that comes online is reported, and other uevents of the kernel do not wake us."""

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
def test_the_filter_passes_online_events_and_only_cpus_are_reported(message, cpu):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    code = create_string_buffer(cpu_hotplug.FILTER, len(cpu_hotplug.FILTER))
    program = struct.pack("HP", len(cpu_hotplug.FILTER) // 8, addressof(code))
    ours.setsockopt(socket.SOL_SOCKET, cpu_hotplug.SO_ATTACH_FILTER, program)
    theirs.send(message)

    readable = bool(select.select([ours], [], [], 0)[0])

    assert readable == message.startswith(b"onli")
    hotplug = cpu_hotplug.CpuHotplug()
    hotplug.close()
    hotplug._socket = ours
    assert hotplug.new_cpus() == ([] if cpu is None else [cpu])
    theirs.close()
    hotplug.close()


def test_without_a_netlink_socket_no_cpu_is_reported(monkeypatch):
    def refuse(*_: object) -> socket.socket:
        raise PermissionError

    monkeypatch.setattr(socket, "socket", refuse)
    hotplug = cpu_hotplug.CpuHotplug()

    assert hotplug.fds() == []
    assert hotplug.new_cpus() == []
    hotplug.close()


def test_the_socket_is_open_until_close():
    hotplug = cpu_hotplug.CpuHotplug()
    (fd,) = hotplug.fds()
    assert os.fstat(fd)
    assert hotplug.new_cpus() == []
    hotplug.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_all_cpus_that_came_online_at_once_are_reported():
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    hotplug = cpu_hotplug.CpuHotplug()
    hotplug.close()
    ours.setblocking(False)
    hotplug._socket = ours
    for cpu in (1, 12):
        kernel.send(b"online@/devices/system/cpu/cpu%d\0ACTION=online\0" % cpu)

    assert hotplug.new_cpus() == [1, 12]
    assert hotplug.new_cpus() == []
    kernel.close()
    hotplug.close()
