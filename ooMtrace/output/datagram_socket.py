# SPDX-License-Identifier: Apache-2.0
"""Sends messages one by one to a socket that acknowledges none: of syslog, and of the journal."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Sequence

from ooMtrace.output.sink import LaterError
from ooMtrace.output.stream_socket import described

SEND_S = 5

REFUSAL_S = 0.2
"""How long a host may take to refuse a datagram (ICMP), once it has refused one."""


class DatagramSocket:
    """Sends each message as a datagram; of what is lost on the way nothing is known.

    Args:
        name: The name for messages.
        open_: Returns a connected socket; raises OSError.
    """

    def __init__(self, name: str, open_: Callable[[], socket.socket]) -> None:
        self.name = name
        self._open = open_
        self._socket: socket.socket | None = None
        self._was_refused = False

    def connect(self) -> None:
        """Connect if it is not connected."""
        if self._socket is None:
            try:
                self._socket = self._open()
            except OSError as error:
                raise LaterError(f"{self.name}: {described(error, SEND_S)}") from error

    def send(self, messages: Sequence[bytes]) -> int:
        """Send the first message; if an earlier one was refused, report that and send nothing."""
        self.connect()
        assert self._socket is not None
        try:
            self._deliver(self._socket, messages[0])
        except OSError as error:
            self._was_refused = isinstance(error, ConnectionRefusedError)
            self.close()
            raise LaterError(f"{self.name}: {described(error, SEND_S)}") from error
        return 1

    def abort(self) -> None:
        """Nothing blocks for longer than SEND_S."""

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _deliver(self, connection: socket.socket, message: bytes) -> None:
        if connection.type == socket.SOCK_STREAM:  # of a local syslog daemon: NUL ends a message
            connection.sendall(message + b"\0")
        else:
            connection.send(message)
            self._check_refusal(connection)

    def _check_refusal(self, connection: socket.socket) -> None:
        """After a refusal, wait a moment for the next one: else each message would seem to arrive."""
        if self._was_refused:
            poll = select.poll()
            poll.register(connection, 0)
            if poll.poll(REFUSAL_S * 1000):
                number = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                raise OSError(number, os.strerror(number))
            self._was_refused = False


def connected(family: int, kind: int, address: object) -> socket.socket:
    """Return a socket that is connected to this address, and never blocks for longer than SEND_S; raises OSError."""
    connection = socket.socket(family, kind | socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(SEND_S)
        connection.connect(address)  # type: ignore[arg-type]
    except BaseException:
        connection.close()
        raise
    return connection
