# SPDX-License-Identifier: Apache-2.0
"""Writes lines as syslog messages of RFC 5424: to a Unix socket, over UDP, TCP (RFC 6587) or TLS (RFC 5425)."""

from __future__ import annotations

import errno
import os
import re
import select
import socket
from collections.abc import Callable, Sequence

from ooMtrace.errors import UsageError
from ooMtrace.output.lines import Format, Lines, Render
from ooMtrace.output.sink import LaterError
from ooMtrace.output.stream_socket import described
from ooMtrace.output.subject import priority_of, time_of

SEND_S = 5

REFUSAL_S = 0.2
"""How long a host may take to refuse a datagram (ICMP), once it has refused one."""

FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock", *(f"local{number}" for number in range(8))),
)
"""RFC 5424, section 6.2.1, in the order of the numerical codes, by the names of syslog.conf(5)."""

UNPRINTABLE = re.compile(r"[^!-~]")
HOSTNAME_LENGTH = 255


def message_of(facility: str, format_: Format) -> Render:
    """Return what renders a message without framing.

    Raises:
        UsageError: There is no such facility.
    """
    if facility not in FACILITIES:
        raise UsageError(f"syslog has no facility {facility!r}", f"use one of {', '.join(FACILITIES)}")
    code = FACILITIES.index(facility) * 8
    pid = os.getpid()

    def render(lines: Lines) -> bytes:
        record = lines.record
        host = UNPRINTABLE.sub("?", record.host.name or "-")[:HOSTNAME_LENGTH]
        header = f"<{code + priority_of(record)}>1 {time_of(record)} {host} oomtrace {pid} {record.event} - "
        return header.encode() + lines.line(format_).rstrip(b"\n").replace(b"\n", b" ")

    return render


def octet_counted(render: Render) -> Render:
    """Return what renders frames of RFC 6587, section 3.4.1."""

    def framed(lines: Lines) -> bytes:
        message = render(lines)
        return b"%d %s" % (len(message), message)

    return framed


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
                raise LaterError(f"{self.name}: {described(error)}") from error

    def send(self, messages: Sequence[bytes]) -> int:
        """Send the first message; if an earlier one was refused, report that and send nothing."""
        self.connect()
        assert self._socket is not None
        try:
            if self._socket.type == socket.SOCK_STREAM:  # of a local syslog daemon: NUL ends a message
                self._socket.sendall(messages[0] + b"\0")
            else:
                self._socket.send(messages[0])
                self._check_refusal(self._socket)
        except OSError as error:
            self._was_refused = isinstance(error, ConnectionRefusedError)
            self.close()
            raise LaterError(f"{self.name}: {described(error)}") from error
        return 1

    def abort(self) -> None:
        """Nothing blocks for longer than SEND_S."""

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _check_refusal(self, connection: socket.socket) -> None:
        """After a refusal, wait a moment for the next one: else each message would seem to arrive."""
        if self._was_refused:
            poll = select.poll()
            poll.register(connection, 0)
            if poll.poll(REFUSAL_S * 1000):
                number = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                raise OSError(number, os.strerror(number))
            self._was_refused = False


def open_log_socket(path: str) -> socket.socket:
    """Return a connection to the socket of a local syslog daemon, a datagram or a stream socket; raises OSError."""
    try:
        return _connected(socket.AF_UNIX, socket.SOCK_DGRAM, path)
    except OSError as error:
        if error.errno != errno.EPROTOTYPE:
            raise
        return _connected(socket.AF_UNIX, socket.SOCK_STREAM, path)


def open_udp(host: str, port: int) -> socket.socket:
    """Return a UDP socket for this place; raises OSError."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    return _connected(family, kind, address)


def _connected(family: int, kind: int, address: object) -> socket.socket:
    connection = socket.socket(family, kind | socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(SEND_S)
        connection.connect(address)  # type: ignore[arg-type]
    except BaseException:
        connection.close()
        raise
    return connection
