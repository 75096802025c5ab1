# SPDX-License-Identifier: Apache-2.0
"""Writes lines to the systemd journal, by its native protocol: one datagram of fields for each line.

The protocol is that of https://systemd.io/JOURNAL_NATIVE_PROTOCOL.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from array import array
from functools import partial

from ooMtrace.output.datagram_socket import DatagramSocket, connected
from ooMtrace.output.lines import Lines
from ooMtrace.output.subject import priority_of, subject_of
from ooMtrace.record import OomKill, Record, Sigkill

MESSAGE_IDS = {
    "oom_kill": "fbe7392beaee466cafc6491f92772541",
    "oom_dying": "6ba6da160d154abd86aefc0d5d5aba65",
    "oom_exit": "1064354142b34968b0ae3c98692723f5",
    "oom_lost": "cf04ef4eb155450c8f1f33f6c43a1df0",
    "oom_no_kill": "dcd6f9fd69284d38bb2d1895d1abbe58",
    "sigkill": "2f81ce3975034e80a67afb4cc30b92cd",
}
"""One for each kind of event; `journalctl MESSAGE_ID=...` finds all of it."""

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
"""Without all of them, journald reads no memory file."""


def datagram(lines: Lines) -> bytes:
    """Return the fields of a line.

    OBJECT_SYSTEMD_UNIT makes `journalctl -u UNIT` show the kill with what the unit itself has logged
    (add_matches_for_unit() in src/shared/logs-show.c of systemd).
    """
    record = lines.record
    subject = subject_of(record)
    fields = {
        "MESSAGE": record.message,
        "MESSAGE_ID": MESSAGE_IDS[subject.event],
        "PRIORITY": str(priority_of(record)),
        "SYSLOG_IDENTIFIER": "oomtrace",
        "OBJECT_SYSTEMD_UNIT": subject.unit if _is_of_host(record) else "",
        "OOMTRACE_EVENT": subject.event,
        "OOMTRACE_ID": record.id,
        "OOMTRACE_VERDICT": subject.verdict,
        "OOMTRACE_SCOPE": subject.scope,
        "OOMTRACE_UNIT": subject.unit,
        "OOMTRACE_CONTAINER": subject.container,
        "OOMTRACE_POD": subject.pod,
        "OOMTRACE_NAMESPACE": subject.namespace,
        "OOMTRACE_COMM": subject.comm,
        "OOMTRACE_PID": subject.pid,
    }
    known = {name: value.encode() for name, value in fields.items() if value}
    return b"".join(_field(name, value) for name, value in known.items()) + _field(
        "OOMTRACE_JSON", lines.line().rstrip(b"\n")
    )


def _is_of_host(record: Record) -> bool:
    """Say whether the unit is one of the host's systemd: users and containers choose the names of theirs."""
    systemd = record.systemd if isinstance(record, (OomKill, Sigkill)) else None
    return systemd is not None and systemd.manager == "system"


def _field(name: str, value: bytes) -> bytes:
    if b"\n" in value:
        return b"%s\n%s%s\n" % (name.encode(), len(value).to_bytes(8, "little"), value)
    return b"%s=%s\n" % (name.encode(), value)


class Journal(DatagramSocket):
    """Sends datagrams to journald.

    Args:
        name: The name for messages.
        path: Of journald's socket.
    """

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name, partial(connected, socket.AF_UNIX, socket.SOCK_DGRAM, path))

    def _deliver(self, connection: socket.socket, message: bytes) -> None:
        try:
            connection.send(message)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            self._send_file(connection, message)

    def _send_file(self, connection: socket.socket, message: bytes) -> None:
        """Send a message that is too large for a datagram as a sealed memory file."""
        fd = os.memfd_create("oomtrace-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(fd, message)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
            connection.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fd]))])
        finally:
            os.close(fd)
