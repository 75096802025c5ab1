# SPDX-License-Identifier: Apache-2.0
"""What a victim was doing and had open, from what the kernel side read of it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from support.probe_events import context, descriptors, sighting, tcp, unix

from ooMtrace import record
from ooMtrace.assemble.victim_context import VictimContext, join_path, victim_context
from ooMtrace.events import Context, Socket
from ooMtrace.kernel.cmdline import Cmdline

SEEN = sighting()
AT_EXEC = sighting(exec_args=(b"worker\0--at-exec\0", 17))


def had(one: Context | None = None, *allowed: str, **changes: Any) -> VictimContext:
    return victim_context(SEEN, replace(one or context(), **changes), allowed)


def connections(*sockets: Socket) -> tuple[record.Connection, ...] | None:
    return had(descriptors=descriptors(sockets=sockets)).connections


def test_all_that_was_read_is_told():
    whole = context(
        environment=b"QUEUE=mailers\0OTHER=x\0",
        environment_size=22,
        descriptors=descriptors(kinds={8: 1, 12: 1}, tcp=1, sockets=(tcp(),)),
    )

    assert victim_context(SEEN, whole, ("QUEUE",)) == VictimContext(
        cmdline=Cmdline(None, ("worker", "--queue", "mailers"), cut=False),
        executable=record.Executable(path="/usr/bin/worker"),
        working_directory="/srv",
        open_files=record.OpenFiles(
            total=2, regular=1, directory=0, device=0, pipe=0, socket=1, anonymous=0, tcp=1, udp=0, unix=0
        ),
        connections=(
            record.Connection(
                fd=3,
                transport="tcp",
                state="established",
                local=record.Endpoint(address="10.0.0.1", port=40000),
                remote=record.Endpoint(address="10.0.0.2", port=6379),
            ),
        ),
        environment={"QUEUE": "mailers"},
        derived=(),
        truncated=(),
    )


def test_nothing_read_is_nothing_told():
    blank = replace(
        context(),
        **dict.fromkeys(("arguments", "arguments_size", "arguments_end", "environment", "environment_size")),
        **dict.fromkeys(("working_directory", "executable", "descriptors")),
    )

    assert victim_context(SEEN, blank, ("*",)) == VictimContext(executable=record.Executable(path=None))
    assert victim_context(SEEN, None, ("*",)) == VictimContext()


def test_without_a_context_the_arguments_are_those_at_exec_and_that_is_told():
    assert victim_context(AT_EXEC, None, ()) == VictimContext(
        cmdline=Cmdline(None, ("worker", "--at-exec"), cut=False), derived=("process.command_args",)
    )


def test_arguments_at_exec_that_were_longer_are_truncated():
    long = sighting(exec_args=(b"worker\0" + b"x" * 249, 300))

    found = victim_context(long, None, ())

    assert found.cmdline == Cmdline(None, ("worker", "x" * 249), cut=True)
    assert (found.derived, found.truncated) == (("process.command_args",), ("process.command_args",))


@pytest.mark.parametrize("name", ["arguments", "arguments_size"])
def test_where_the_context_has_no_arguments_those_at_exec_are_told(name):
    found = victim_context(AT_EXEC, replace(context(), **{name: None}), ())

    assert (found.cmdline.args, found.derived) == (("worker", "--at-exec"), ("process.command_args",))
    assert found.working_directory == "/srv"


def test_the_context_is_newer_than_exec():
    found = victim_context(AT_EXEC, context(), ())

    assert (found.cmdline.args, found.derived) == (("worker", "--queue", "mailers"), ())


def test_a_process_that_has_no_arguments_left_has_none_and_not_those_at_exec():
    found = victim_context(AT_EXEC, context(arguments=b"", arguments_size=0), ())

    assert (found.cmdline, found.derived) == (Cmdline(None, (), cut=False), ())


def test_a_title_takes_the_place_of_arguments():
    found = had(arguments=b"worker: 42 busy\0HOME=/", arguments_size=8, arguments_end=ord(":"))

    assert found.cmdline == Cmdline("worker: 42 busy", None, cut=False)


@pytest.mark.parametrize(
    ("changes", "truncated"),
    [
        ({"arguments": b"a\0b", "arguments_size": 9000}, ("process.command_args",)),
        ({"arguments": b"a b", "arguments_size": 9000}, ("process.title",)),
        ({"arguments": b"x" * 4096, "arguments_size": 9000, "arguments_end": 120}, ("process.title",)),
        ({"environment": b"A=1\0", "environment_size": 4}, ()),
        ({"environment": b"A=1\0", "environment_size": 5}, ("process.environment",)),
        ({"environment": b"", "environment_size": 5}, ("process.environment",)),
        ({"environment": None, "environment_size": 5}, ()),
        ({"environment": b"A=1\0", "environment_size": None}, ()),
        (
            {"arguments": b"a\0b", "arguments_size": 9, "environment": b"", "environment_size": 5},
            ("process.command_args", "process.environment"),
        ),
    ],
)
def test_what_was_cut_is_told(changes, truncated):
    assert had(**changes).truncated == truncated


def test_every_kind_of_descriptor_is_counted():
    kinds = {0: 1, 1: 2, 2: 4, 4: 8, 6: 16, 8: 32, 10: 64, 12: 128}

    assert had(descriptors=descriptors(kinds=kinds, tcp=10, udp=20, unix=30)).open_files == record.OpenFiles(
        total=255, regular=32, directory=8, device=20, pipe=2, socket=128, anonymous=1, tcp=10, udp=20, unix=30
    )


def test_a_process_without_descriptors_has_none_open_and_no_connections():
    found = had(descriptors=descriptors())

    assert found.open_files == record.OpenFiles(
        total=0, regular=0, directory=0, device=0, pipe=0, socket=0, anonymous=0, tcp=0, udp=0, unix=0
    )
    assert found.connections == ()


def test_descriptors_that_were_not_walked_to_the_end_are_incomplete():
    assert had(descriptors=descriptors(all=False)).open_files.incomplete is True
    assert had(descriptors=descriptors(all=True)).open_files.incomplete is None


def address(text: str) -> bytes:
    return ip_address(text).packed


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (address("127.0.0.1"), "127.0.0.1"),
        (address("255.255.255.255"), "255.255.255.255"),
        (address("::1"), "::1"),
        (address("2001:db8::8:800:200c:417a"), "2001:db8::8:800:200c:417a"),
        (address("::ffff:10.1.2.3"), "10.1.2.3"),
        (address("::ffff:0.0.0.0"), "0.0.0.0"),
        (address("::10.1.2.3"), "::a01:203"),
        (address("fe80::1"), "fe80::1"),
    ],
)
def test_addresses_are_written_as_everybody_writes_them(raw, shown):
    (one,) = connections(tcp(local=raw, remote=raw))

    assert (one.local, one.remote) == (
        record.Endpoint(address=shown, port=40000),
        record.Endpoint(address=shown, port=6379),
    )


@pytest.mark.parametrize("nowhere", [address("0.0.0.0"), address("::")])
def test_an_end_that_is_nowhere_is_not_told_but_one_on_all_addresses_is(nowhere):
    (listening,) = connections(tcp(state=10, local=nowhere, local_port=80, remote=nowhere, remote_port=0))
    (fresh,) = connections(tcp(state=7, local=nowhere, local_port=0, remote=nowhere, remote_port=0))

    assert listening == record.Connection(
        fd=3, transport="tcp", state="listen", local=record.Endpoint(address=str(ip_address(nowhere)), port=80)
    )
    assert fresh == record.Connection(fd=3, transport="tcp", state="close")


@pytest.mark.parametrize("unread", [None, b"", b"\x7f\0\0", b"\1" * 17])
def test_an_address_that_could_not_be_read_is_not_told(unread):
    (one,) = connections(tcp(local=unread, remote=unread))

    assert (one.local, one.remote) == (None, None)


def test_a_port_that_could_not_be_read_is_not_told():
    (one,) = connections(tcp(local_port=None))

    assert one.local == record.Endpoint(address="10.0.0.1", port=None)


@pytest.mark.parametrize(
    ("protocol", "transport"),
    [
        (1, "icmp"),
        (6, "tcp"),
        (17, "udp"),
        (58, "icmpv6"),
        (132, "sctp"),
        (136, "udplite"),
        (255, "raw"),
        (262, "mptcp"),
        (47, "47"),
        (0, "ip"),
        (None, "ip"),
    ],
)
def test_a_protocol_is_told_by_its_name_or_else_its_number(protocol, transport):
    (one,) = connections(tcp(protocol=protocol))

    assert one.transport == transport


STATES = {
    1: "established",
    2: "syn_sent",
    3: "syn_recv",
    4: "fin_wait1",
    5: "fin_wait2",
    6: "time_wait",
    7: "close",
    8: "close_wait",
    9: "last_ack",
    10: "listen",
    11: "closing",
    12: "new_syn_recv",
    13: "bound_inactive",
    14: "14",
    -14: "-14",
    None: None,
}


@pytest.mark.parametrize(("state", "name"), STATES.items())
@pytest.mark.parametrize("protocol", [6, 262])
def test_a_state_of_tcp_has_its_name(protocol, state, name):
    (one,) = connections(tcp(protocol=protocol, state=state))

    assert one.state == name


@pytest.mark.parametrize(("state", "name"), [*dict.fromkeys(range(15)).items(), (None, None)])
def test_elsewhere_only_established_and_listen_say_something(state, name):
    expected = {1: "established", 10: "listen"}.get(state, name)
    (udp, local) = connections(tcp(protocol=17, state=state), unix(b"/x\0", state=state))

    assert (udp.state, local.state) == (expected, expected)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"/run/x.sock\0", "/run/x.sock"),
        (b"/run/x.sock", "/run/x.sock"),
        (b"/run/x\0stale", "/run/x"),
        (b"relative\0", "relative"),
        (b"\0abstract", "@abstract"),
        (b"\0a\0b\0", "@a@b@"),
        (b"\x0000001", "@00001"),
        (b"/\xff\x1b\0", "/\\xff\x1b"),
        ("\0名".encode(), "@名"),
    ],
)
def test_a_unix_domain_socket_is_told_by_its_name(raw, shown):
    assert connections(unix(raw), unix(None, raw)) == (
        record.Connection(fd=4, transport="unix", state="established", local=record.Endpoint(address=shown)),
        record.Connection(fd=4, transport="unix", state="established", remote=record.Endpoint(address=shown)),
    )


@pytest.mark.parametrize("unnamed", [None, b""])
def test_a_unix_domain_socket_without_a_name_has_no_ends(unnamed):
    assert connections(unix(unnamed, unnamed)) == (record.Connection(fd=4, transport="unix", state="established"),)


@pytest.mark.parametrize(
    ("counts", "told", "truncated"),
    [
        ({"tcp": 32}, (32, 0), False),
        ({"tcp": 33}, (32, 0), True),
        ({"tcp": 20, "udp": 12}, (32, 0), False),
        ({"tcp": 20, "udp": 13}, (32, 0), True),
        ({"unix": 16}, (0, 16), False),
        ({"unix": 17}, (0, 16), True),
        ({"unix": 64}, (0, 0), False),
        ({"unix": 64}, (0, 15), False),
        ({"unix": 65}, (0, 0), True),
        ({"tcp": 32, "unix": 16}, (32, 16), False),
        ({"tcp": 40, "unix": 16}, (32, 16), True),
        ({"tcp": 32, "unix": 17}, (32, 16), True),
    ],
)
def test_more_sockets_than_are_told_of_is_told(counts, told, truncated):
    sockets = (tcp(),) * told[0] + (unix(b"/x\0"),) * told[1]

    found = had(descriptors=descriptors(sockets=sockets, **counts))

    assert len(found.connections) == sum(told)
    assert found.truncated == (("process.connections",) if truncated else ())


def test_connections_keep_their_order():
    found = connections(tcp(fd=9), tcp(fd=3), unix(b"/x\0"))

    assert [one.fd for one in found] == [9, 3, 4]


@pytest.mark.parametrize(
    ("names", "expected"), [(None, None), ((), "/"), (("a",), "/a"), (("leaf", "middle", "top"), "/top/middle/leaf")]
)
def test_a_path_is_turned_round(names, expected):
    assert join_path(names) == expected


@pytest.mark.parametrize("allowed", [(), ("NOTHING",)])
def test_an_environment_of_which_nothing_is_allowed_is_empty(allowed):
    assert had(context(environment=b"A=1\0", environment_size=4), *allowed).environment == {}
