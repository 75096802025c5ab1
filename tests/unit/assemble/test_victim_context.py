# SPDX-License-Identifier: Apache-2.0
"""What a victim was doing and had open, from its context."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.probe_events import context, descriptors, tcp, victim_event

from ooMtrace import record
from ooMtrace.assemble.victim_context import VictimContext, join_path, victim_context
from ooMtrace.events import Context
from ooMtrace.kernel.cmdline import Cmdline

EVENT = victim_event()


AT_EXEC = victim_event(exec_args=(b"worker\0--at-exec\0", 17))


def parse(whole: Context | None = None, *env: str, **changes: Any) -> VictimContext:
    return victim_context(EVENT, replace(whole or context(), **changes), env)


def test_every_part_of_a_context_is_converted():
    whole = context(
        environment=b"QUEUE=mailers\0OTHER=x\0",
        environment_size=22,
        descriptors=descriptors(kinds={8: 1, 12: 1}, tcp=1, sockets=(tcp(),)),
    )

    assert victim_context(EVENT, whole, ("QUEUE",)) == VictimContext(
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


def test_an_empty_context_gives_no_facts():
    blank = replace(
        context(),
        **dict.fromkeys(("arguments", "arguments_size", "arguments_end", "environment", "environment_size")),
        **dict.fromkeys(("working_directory", "executable", "descriptors")),
    )

    assert victim_context(EVENT, blank, ("*",)) == VictimContext(executable=record.Executable(path=None))
    assert victim_context(EVENT, None, ("*",)) == VictimContext()


def test_without_a_context_the_arguments_are_those_at_exec_and_derived():
    assert victim_context(AT_EXEC, None, ()) == VictimContext(
        cmdline=Cmdline(None, ("worker", "--at-exec"), cut=False), derived=("process.command_args",)
    )


def test_longer_arguments_at_exec_are_truncated():
    long = victim_event(exec_args=(b"worker\0" + b"x" * 249, 300))

    found = victim_context(long, None, ())

    assert found.cmdline == Cmdline(None, ("worker", "x" * 249), cut=True)
    assert (found.derived, found.truncated) == (("process.command_args",), ("process.command_args",))


@pytest.mark.parametrize("name", ["arguments", "arguments_size"])
def test_a_context_without_arguments_has_those_at_exec(name):
    found = victim_context(AT_EXEC, replace(context(), **{name: None}), ())

    assert (found.cmdline.args, found.derived) == (("worker", "--at-exec"), ("process.command_args",))
    assert found.working_directory == "/srv"


def test_the_arguments_of_the_context_take_precedence_over_those_at_exec():
    found = victim_context(AT_EXEC, context(), ())

    assert (found.cmdline.args, found.derived) == (("worker", "--queue", "mailers"), ())


def test_empty_arguments_are_not_replaced_by_those_at_exec():
    found = victim_context(AT_EXEC, context(arguments=b"", arguments_size=0), ())

    assert (found.cmdline, found.derived) == (Cmdline(None, (), cut=False), ())


def test_a_title_replaces_the_arguments():
    found = parse(arguments=b"worker: 42 busy\0HOME=/", arguments_size=8, arguments_end=ord(":"))

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
def test_incomplete_facts_are_truncated(changes, truncated):
    assert parse(**changes).truncated == truncated


def test_descriptors_are_counted_by_type():
    kinds = {0: 1, 1: 2, 2: 4, 4: 8, 6: 16, 8: 32, 10: 64, 12: 128}

    assert parse(descriptors=descriptors(kinds=kinds, tcp=10, udp=20, unix=30)).open_files == record.OpenFiles(
        total=255, regular=32, directory=8, device=20, pipe=2, socket=128, anonymous=1, tcp=10, udp=20, unix=30
    )


def test_a_process_without_descriptors_has_no_open_files_and_no_connections():
    found = parse(descriptors=descriptors())

    assert found.open_files == record.OpenFiles(
        total=0, regular=0, directory=0, device=0, pipe=0, socket=0, anonymous=0, tcp=0, udp=0, unix=0
    )
    assert found.connections == ()


def test_a_partly_walked_table_is_incomplete():
    assert parse(descriptors=descriptors(all=False)).open_files.incomplete is True
    assert parse(descriptors=descriptors(all=True)).open_files.incomplete is None


@pytest.mark.parametrize(
    ("names", "expected"), [(None, None), ((), "/"), (("a",), "/a"), (("leaf", "middle", "top"), "/top/middle/leaf")]
)
def test_names_are_joined_from_the_last_to_the_first(names, expected):
    assert join_path(names) == expected


@pytest.mark.parametrize("env", [(), ("NOTHING",)])
def test_an_environment_without_allowed_variables_is_empty(env):
    assert parse(context(environment=b"A=1\0", environment_size=4), *env).environment == {}
