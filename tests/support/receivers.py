# SPDX-License-Identifier: Apache-2.0
"""What receives lines over a socket: reads when the test says so, and may be gone for a while."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


class Receiver:
    """Accepts connections and keeps what it reads; a broken line at the end of a connection is left out.

    Args:
        path: Of a Unix socket; None: a TCP port of the loopback interface.
        pause: Seconds between two reads of 4,096 bytes.
        reads: Whether it reads at all.
    """

    def __init__(self, path: Path | None = None, *, pause: float = 0, reads: bool = True) -> None:
        self._path = path
        self._pause, self._reads = pause, reads
        self._port = 0
        self._lock = threading.Lock()
        self._lines: list[bytes] = []
        self.open()

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self._port}" if self._path is None else f"unix:{self._path}"

    def open(self) -> None:
        """Listen at the same place as before."""
        if self._path is None:
            self._listener = socket.create_server(("127.0.0.1", self._port))
            self._port = self._listener.getsockname()[1]
        else:
            self._path.unlink(missing_ok=True)
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(str(self._path))
            self._listener.listen()
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def close(self) -> None:
        """Stop listening and close all connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    @property
    def count(self) -> int:
        return len(self._lines)

    def lines(self) -> list[dict[str, Any]]:
        with self._lock:
            return [json.loads(line) for line in self._lines]

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._read, args=[connection], daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        rest = b""
        with suppress(OSError):
            while self._reads and (part := connection.recv(4096)):
                *whole, rest = (rest + part).split(b"\n")
                with self._lock:
                    self._lines += whole
                time.sleep(self._pause)


def wait_for(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
