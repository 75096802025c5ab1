# SPDX-License-Identifier: Apache-2.0
"""A file that never answers: its reader sleeps where not even SIGKILL wakes it.

That is a FUSE file system of one file, its root, served over /dev/fuse by hand (linux/fuse.h): as soon as the server
has taken a request, its reader must wait for the reply.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from pathlib import Path

GETATTR, OPEN, READ, RELEASE, FLUSH, INIT = 3, 14, 15, 18, 25, 26
UNANSWERED = (2, 36, 42)
"""FORGET, INTERRUPT, BATCH_FORGET."""
REQUEST = struct.Struct("=IIQ24x")  # struct fuse_in_header: len, opcode, unique
ENOSYS = 38
MINOR = 31
DIRECT_IO = 1
"""Reads are requests of the reader's own; through the page cache it would sleep on the page, where SIGKILL wakes it."""
MODE = 0o100644
PAGE = os.sysconf("SC_PAGE_SIZE")
MNT_FORCE, MNT_DETACH = 1, 2
TIMEOUT_S = 30

libc = ctypes.CDLL(None, use_errno=True)


class SilentFile:
    """Use it as a context manager: on entry `path` is there, at the end all readers that still sleep are released."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "silent"
        self._asked = threading.Event()
        self._reader = 0

    def __enter__(self) -> SilentFile:
        self.path.touch()
        self._fd = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self._fd},rootmode={MODE:o},user_id=0,group_id=0".encode()
        if libc.mount(b"oomtrace-test", os.fsencode(self.path), b"fuse", 0, options):
            raise OSError(ctypes.get_errno(), "mount")
        self._server = threading.Thread(target=self._serve)
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        libc.umount2(os.fsencode(self.path), MNT_FORCE | MNT_DETACH)  # ends the connection, and the server with it
        self._server.join(TIMEOUT_S)
        os.close(self._fd)

    def wait_for_reader(self) -> None:
        """Wait until the file has a reader."""
        assert self._asked.wait(TIMEOUT_S), "no reader"

    def answer(self) -> None:
        """Answer the reader with "end of file"."""
        self._reply(self._reader)

    def _reply(self, unique: int, payload: bytes = b"", error: int = 0) -> None:
        os.write(self._fd, struct.pack("=IiQ", 16 + len(payload), -error, unique) + payload)

    def _serve(self) -> None:
        attributes = struct.pack("=QII 6Q 10I", 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, MODE, 1, 0, 0, 0, PAGE, 0)
        payloads = {
            INIT: struct.pack("=IIII HHI IHHI 7I", 7, MINOR, 0, 0, 0, 0, PAGE, 1, 0, 0, 0, *[0] * 7),
            GETATTR: attributes,
            OPEN: struct.pack("=QII", 0, DIRECT_IO, 0),
            FLUSH: b"",
            RELEASE: b"",
        }
        while True:
            try:
                request = os.read(self._fd, 1 << 17)
            except OSError:  # unmounted
                return
            _, opcode, unique = REQUEST.unpack_from(request)
            if opcode == READ:
                self._reader = unique
                self._asked.set()
            elif opcode in payloads:
                self._reply(unique, payloads[opcode])
            elif opcode not in UNANSWERED:
                self._reply(unique, error=ENOSYS)
