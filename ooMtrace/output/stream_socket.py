# SPDX-License-Identifier: Apache-2.0
"""Delivers messages over a stream socket, and counts those as delivered that the other side has acknowledged."""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import termios
from collections.abc import Callable, Sequence

from ooMtrace.output.sink import LaterError

CONNECT_S = 10
FIRST_LOOK_S, LONGEST_LOOK_S = 0.001, 0.1
"""Between two looks at what is not acknowledged yet; no event reports that."""

BATCH_BYTES = 64 << 10
CLOSED = select.POLLRDHUP | select.POLLHUP | select.POLLERR
BROKEN = select.POLLHUP | select.POLLERR


class StreamSocket:
    """Connects when there is something to send, and again when the connection is gone.

    A message is delivered once the receiving kernel has acknowledged it (TCP) or the reader has read it (Unix sockets),
    and is sent again otherwise: one that arrived while the connection broke may arrive twice.

    Args:
        name: The name for messages.
        open_: Returns a connected socket; raises OSError, or LaterError.
    """

    def __init__(self, name: str, open_: Callable[[], socket.socket]) -> None:
        self.name = name
        self._open = open_
        self._socket: socket.socket | None = None
        self._is_aborted = False

    def connect(self) -> None:
        """Connect if it is not connected, or not any more."""
        if self._socket is not None and not _events(self._socket, CLOSED):
            return
        self._disconnect()
        if self._is_aborted:
            raise LaterError(f"{self.name}: is closed")
        try:
            self._socket = self._open()
        except OSError as error:
            raise LaterError(f"{self.name}: {described(error)}") from error

    def send(self, messages: Sequence[bytes]) -> int:
        """Send messages and wait until they are acknowledged; return how many are."""
        self.connect()
        assert self._socket is not None
        batch = _first(messages)
        data = memoryview(b"".join(batch))
        sent = 0
        try:
            while sent < len(data):
                sent += self._socket.send(data[sent:])
            self._await_acknowledgement(self._socket)
        except OSError as error:
            delivered = self._acknowledged(batch, sent)
            self._disconnect()
            if not delivered:
                raise LaterError(f"{self.name}: {described(error)}") from error
            return delivered
        return len(batch)

    def abort(self) -> None:
        """End whatever blocks."""
        self._is_aborted = True
        connected = self._socket
        if connected is not None:
            try:
                connected.shutdown(socket.SHUT_RDWR)
            except OSError:  # it is closed already
                return

    def close(self) -> None:
        """Close the connection."""
        self._disconnect()

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _await_acknowledgement(self, connected: socket.socket) -> None:
        pause = FIRST_LOOK_S
        while _unacknowledged(connected):
            if _events(connected, BROKEN, pause):
                break
            pause = min(2 * pause, LONGEST_LOOK_S)
        # With unread data in it, a Unix socket that is closed has no unacknowledged bytes either, but an error.
        if _events(connected, BROKEN) & select.POLLERR or _unacknowledged(connected):
            raise ConnectionResetError(0, "the connection is broken")

    def _acknowledged(self, batch: Sequence[bytes], sent: int) -> int:
        """Return how many whole messages were acknowledged before the connection broke; a Unix socket does not say."""
        if self._socket is None or self._socket.family == socket.AF_UNIX:
            return 0
        left, count = sent - _unacknowledged(self._socket), 0
        for message in batch:
            left -= len(message)
            if left < 0:
                break
            count += 1
        return count


def open_unix(path: str) -> socket.socket:
    """Return a connection to a Unix socket; raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(CONNECT_S)
        connection.connect(path)
        connection.settimeout(None)
    except BaseException:
        connection.close()
        raise
    return connection


def open_tcp(host: str, port: int) -> socket.socket:
    """Return a connection to a TCP port; raises OSError."""
    connection = socket.create_connection((host, port), CONNECT_S)
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def described(error: OSError, limit_s: float = CONNECT_S) -> str:
    """Return what failed, in words; `limit_s` is how long was waited for an answer."""
    if isinstance(error, TimeoutError):
        return f"no answer within {limit_s} s"
    return error.strerror or str(error) or type(error).__name__


def _first(messages: Sequence[bytes]) -> list[bytes]:
    """Return as many messages as make a batch, at least one."""
    batch: list[bytes] = []
    size = 0
    for message in messages:
        size += len(message)
        if batch and size > BATCH_BYTES:
            break
        batch.append(message)
    return batch


def _unacknowledged(connected: socket.socket) -> int:
    """Return SIOCOUTQ: bytes that are not acknowledged (tcp(7)), or memory of what is not read (unix(7))."""
    (count,) = struct.unpack("i", fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, bytes(4)))
    return int(count)


def _events(connected: socket.socket, wanted: int, seconds: float = 0) -> int:
    poll = select.poll()
    poll.register(connected.fileno(), wanted & select.POLLRDHUP)
    found = poll.poll(seconds * 1000)
    return found[0][1] & wanted if found else 0
