# SPDX-License-Identifier: Apache-2.0
"""CPUs that come online while we run, as the kernel announces them over netlink (NETLINK_KOBJECT_UEVENT)."""

from __future__ import annotations

import ctypes
import re
import socket
import struct
from contextlib import suppress

NETLINK_KOBJECT_UEVENT, FROM_KERNEL = 15, 1
SO_ATTACH_FILTER = 26
ONLINE = re.compile(rb"online@/devices/system/cpu/cpu([0-9]{1,5})\0")

LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # classic BPF, include/uapi/linux/bpf_common.h
FILTER = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (LOAD_WORD, 0, 0, 0),
        (JUMP_IF_EQUAL, 0, 1, int.from_bytes(b"onli", "big")),
        (RETURN, 0, 0, 0xFFFFFFFF),
        (RETURN, 0, 0, 0),
    )
)
"""Passes `online` events only: containers create and remove network devices all the time, which must not wake us."""


class CpuHotplug:
    """Listens for CPUs that come online; reports none where the kernel does not allow it."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        with suppress(OSError):
            flags = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            self._socket = socket.socket(socket.AF_NETLINK, flags, NETLINK_KOBJECT_UEVENT)
            code = ctypes.create_string_buffer(FILTER, len(FILTER))
            self._socket.setsockopt(
                socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(FILTER) // 8, ctypes.addressof(code))
            )
            self._socket.bind((0, FROM_KERNEL))

    def fds(self) -> list[int]:
        """Return the file descriptors that become readable when a CPU comes online; none if there is no socket."""
        return [] if self._socket is None else [self._socket.fileno()]

    def new_cpus(self) -> list[int]:
        """Return the CPUs that have come online since the last call, without blocking."""
        cpus = []
        with suppress(OSError):  # no more messages, or the socket's buffer overflowed
            while self._socket:
                match = ONLINE.match(self._socket.recv(8192))
                if match:
                    cpus.append(int(match[1]))
        return cpus

    def close(self) -> None:
        """Stop listening; a second call does nothing."""
        if self._socket:
            self._socket.close()
