# SPDX-License-Identifier: Apache-2.0
"""What a socket in journald's place receives: the fields of a line, and large ones in a sealed file."""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.probe_events import kill, lost

from ooMtrace import record
from ooMtrace.output.encode import encode
from ooMtrace.output.journald import MESSAGE_IDS, SEALS, Journal, datagram
from ooMtrace.output.lines import Lines
from ooMtrace.output.sink import LaterError
from ooMtrace.record.identity import UnitManager

KILL = kill()


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "socket"))
        bound.setblocking(False)  # what has been sent is there
        yield bound


def fields_of(record_: record.Record) -> dict[str, str]:
    """Read the fields as https://systemd.io/JOURNAL_NATIVE_PROTOCOL describes them."""
    rest, found = datagram(Lines(record_)), dict[str, bytes]()
    while rest:
        line, _, rest = rest.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + length], rest[8 + length :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        assert name.decode() not in found
        found[name.decode()] = value
    return {name: value.decode() for name, value in found.items()}


def in_unit(manager: UnitManager) -> record.OomKill:
    return replace(KILL, systemd=record.Systemd(unit="web.service", manager=manager))


def test_a_line_has_the_fields_that_it_is_found_by():
    pod = record.Kubernetes(namespace=record.KubernetesNamespace(name="prod"), pod=record.Pod(uid="1", name="web-0"))
    sent = replace(in_unit("system"), k8s=pod, container=record.Container(id="ab" * 32, name="app"))
    fields = fields_of(sent)

    assert json.loads(fields.pop("OOMTRACE_JSON")) == json.loads(encode(sent))
    assert fields == {
        "MESSAGE": KILL.message,
        "MESSAGE_ID": "fbe7392beaee466cafc6491f92772541",
        "PRIORITY": "3",
        "SYSLOG_IDENTIFIER": "oomtrace",
        "OBJECT_SYSTEMD_UNIT": "web.service",
        "OOMTRACE_EVENT": "oom_kill",
        "OOMTRACE_ID": KILL.id,
        "OOMTRACE_VERDICT": "killed",
        "OOMTRACE_UNIT": "web.service",
        "OOMTRACE_CONTAINER": "app",
        "OOMTRACE_POD": "web-0",
        "OOMTRACE_NAMESPACE": "prod",
        "OOMTRACE_COMM": KILL.process.comm,
        "OOMTRACE_PID": str(KILL.process.pid),
    }


def test_what_is_unknown_has_no_field():
    assert fields_of(lost()).keys() == {
        *("MESSAGE", "MESSAGE_ID", "PRIORITY", "SYSLOG_IDENTIFIER", "OOMTRACE_EVENT", "OOMTRACE_ID", "OOMTRACE_JSON")
    }


def test_each_kind_of_event_has_a_message_id_of_its_own():
    assert MESSAGE_IDS.keys() == {"oom_kill", "oom_dying", "oom_exit", "oom_lost", "oom_no_kill", "sigkill"}
    assert len(set(MESSAGE_IDS.values())) == len(MESSAGE_IDS)
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in MESSAGE_IDS.values())


@pytest.mark.parametrize("manager", ["user", "container"])
def test_a_unit_of_a_user_or_of_a_container_is_not_shown_as_one_of_the_host(manager):
    fields = fields_of(in_unit(manager))

    assert "OBJECT_SYSTEMD_UNIT" not in fields
    assert fields["OOMTRACE_UNIT"] == "web.service"


@pytest.mark.parametrize("comm", ["a\nPRIORITY=0", "\n", "a=b", "\xe9"])
def test_no_name_of_a_process_makes_a_field_of_its_own(comm):
    fields = fields_of(replace(KILL, process=replace(KILL.process, comm=comm)))

    assert fields["OOMTRACE_COMM"] == comm
    assert fields["PRIORITY"] == "3"


def test_a_datagram_is_one_line(journald, tmp_path):
    assert Journal("journald", str(tmp_path / "socket")).send([b"A=1\n", b"A=2\n"]) == 1

    assert journald.recv(100) == b"A=1\n"


def test_a_line_that_is_too_large_for_a_datagram_is_a_sealed_file(journald, tmp_path):
    message = b"A=" + b"x" * (4 << 20) + b"\n"
    before = len([*Path("/proc/self/fd").iterdir()])
    journal = Journal("journald", str(tmp_path / "socket"))
    assert journal.send([message]) == 1

    empty, (fd,), _, _ = socket.recv_fds(journald, 100, 1)
    assert empty == b""
    assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & SEALS == SEALS
    assert os.pread(fd, len(message) + 1, 0) == message
    os.close(fd)
    journal.close()
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_without_journald_a_line_is_kept_for_later(tmp_path):
    with pytest.raises(LaterError, match=r"^journald: No such file or directory$"):
        Journal("journald", str(tmp_path / "socket")).send([b"A=1\n"])
