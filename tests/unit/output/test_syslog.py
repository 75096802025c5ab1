# SPDX-License-Identifier: Apache-2.0
"""Syslog messages of RFC 5424, their frames, and datagrams that nobody takes."""

from __future__ import annotations

import os
import re
import socket
import time
from contextlib import closing
from dataclasses import replace
from logging.handlers import SysLogHandler

import pytest
from support.probe_events import kill, lost
from support.receivers import wait_for

from ooMtrace import record
from ooMtrace.errors import UsageError
from ooMtrace.output import datagram_socket, syslog
from ooMtrace.output.datagram_socket import DatagramSocket
from ooMtrace.output.encode import encode, encode_pretty
from ooMtrace.output.lines import Lines
from ooMtrace.output.sink import LaterError

KILL = kill()

HEADER = re.compile(rb"<(\d{1,3})>1 (\S+) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) - (.*)", re.DOTALL)
"""The grammar of RFC 5424, section 6, as far as it is used."""


def message(record_: record.Record, facility: str = "daemon") -> bytes:
    return syslog.message_of(facility, encode)(Lines(record_))


def test_a_message_has_the_header_of_rfc_5424_and_the_line():
    found = HEADER.fullmatch(message(KILL))
    assert found

    assert found.groups() == (
        *(b"27", KILL.time.encode(), b"host", b"oomtrace", str(os.getpid()).encode(), b"oom_kill"),
        encode(KILL).rstrip(b"\n"),
    )


@pytest.mark.parametrize(
    ("record_", "facility", "priority"),
    [
        (KILL, "kern", 3),
        (KILL, "local7", 187),
        (lost(), "daemon", 28),
        (replace(KILL, event="oom_dying", severity="INFO"), "daemon", 30),
        (replace(KILL, oom=replace(KILL.oom, scope="global")), "daemon", 26),
        (replace(KILL, event="oom_exit", severity="INFO", oom=replace(KILL.oom, scope="global")), "daemon", 30),
    ],
)
def test_the_priority_is_the_facility_and_the_severity(record_, facility, priority):
    assert message(record_, facility).startswith(f"<{priority}>1 ".encode())


@pytest.mark.parametrize(("name", "shown"), [(None, b"-"), ("a b\n\xe9", b"a?b??"), ("x" * 300, b"x" * 255)])
def test_any_host_name_makes_a_valid_header(name, shown):
    found = HEADER.fullmatch(message(replace(KILL, host=replace(KILL.host, name=name))))

    assert found
    assert found[3] == shown


def test_a_message_is_one_line_whatever_the_format():
    text = syslog.message_of("daemon", encode_pretty)(Lines(KILL))

    assert b"\n" not in text


def test_a_frame_states_the_number_of_octets():
    named = replace(KILL, message="\xe9\u20ac")
    framed = syslog.octet_counted(syslog.message_of("daemon", encode))(Lines(named))
    length, _, rest = framed.partition(b" ")

    assert int(length) == len(rest)
    assert rest == message(named)


def test_facilities_have_the_numbers_of_the_standard_library():
    """It calls three of them otherwise: RFC 5424 has no short names for those."""
    others = {"audit": "security", "alert": "console", "clock": "solaris-cron"}
    numbers = SysLogHandler.facility_names
    assert [numbers[others.get(name, name)] for name in syslog.FACILITIES] == list(range(24))


def test_an_unknown_facility_is_a_usage_error():
    with pytest.raises(UsageError, match="syslog has no facility 'x'"):
        syslog.message_of("x", encode)


def test_a_port_that_refuses_datagrams_is_reported_once_and_later_lines_are_kept(start):
    said: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    outputs = start(said.append, f"syslog+udp://127.0.0.1:{port}")
    for number in range(5):
        outputs.put(replace(KILL, seq=number))
        outputs.reopen()
        time.sleep(0.1)
        outputs.flush()
    assert [line.rpartition(": ")[2] for line in said] == [
        "Connection refused; lines are kept in memory until it takes them"
    ]

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", port))
        server.settimeout(30)
        outputs.drain(30)
        got = [server.recv(65536) for _ in range(4)]
    outputs.close()

    assert [int(re.findall(rb'"seq":(\d+)', one)[0]) for one in got] == [1, 2, 3, 4], "UDP: the first one is lost"
    assert len(said) == 2
    assert said[1].endswith("works again")


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_unix_socket_may_be_of_either_kind(start, tmp_path, kind):
    said: list[str] = []
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(str(tmp_path / "log"))
        if kind == socket.SOCK_STREAM:
            server.listen()
        outputs = start(said.append, f"syslog:{tmp_path}/log")
        outputs.put(KILL)
        outputs.drain(30)
        reader = server.accept()[0] if kind == socket.SOCK_STREAM else server
        got = reader.recv(65536)
        outputs.close()

    assert got.rstrip(b"\0") == message(KILL)
    assert said == []


def test_a_daemon_that_restarts_gets_the_lines_that_it_has_missed(start, tmp_path):
    said: list[str] = []
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(str(tmp_path / "log"))
    outputs = start(said.append, f"syslog:{tmp_path}/log")
    outputs.put(KILL)
    wait_for(lambda: outputs.empty)
    server.close()
    (tmp_path / "log").unlink()
    outputs.put(replace(KILL, id="missed"))
    time.sleep(0.1)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(str(tmp_path / "log"))
    server.settimeout(30)
    outputs.drain(30)
    got = server.recv(65536)
    outputs.close()
    server.close()

    assert b'"id":"missed"' in got


def test_a_datagram_that_no_receiver_takes_says_how_long_was_waited(tmp_path, monkeypatch):
    monkeypatch.setattr(datagram_socket, "SEND_S", 1)
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        kind = (socket.AF_UNIX, socket.SOCK_DGRAM)
        sender = DatagramSocket("syslog", lambda: datagram_socket.connected(*kind, str(path)))
        with closing(sender), pytest.raises(LaterError, match=r"^syslog: no answer within 1 s$"):
            sum(sender.send([b"x" * 1000]) for _ in range(100_000))
