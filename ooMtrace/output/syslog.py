# SPDX-License-Identifier: Apache-2.0
"""Writes lines as syslog messages of RFC 5424: to a Unix socket, over UDP, TCP (RFC 6587) or TLS (RFC 5425)."""

from __future__ import annotations

import errno
import os
import re
import socket

from ooMtrace.errors import UsageError
from ooMtrace.output.datagram_socket import connected
from ooMtrace.output.lines import Format, Lines, Render
from ooMtrace.output.subject import priority_of, time_of

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


def open_log_socket(path: str) -> socket.socket:
    """Return a connection to the socket of a local syslog daemon, a datagram or a stream socket; raises OSError."""
    try:
        return connected(socket.AF_UNIX, socket.SOCK_DGRAM, path)
    except OSError as error:
        if error.errno != errno.EPROTOTYPE:
            raise
        return connected(socket.AF_UNIX, socket.SOCK_STREAM, path)


def open_udp(host: str, port: int) -> socket.socket:
    """Return a UDP socket for this place; raises OSError."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    return connected(family, kind, address)
