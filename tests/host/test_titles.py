# SPDX-License-Identifier: Apache-2.0
"""Titles that real programs write over their arguments: the line has what /proc showed before the kill."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.debian import Tree, tree
from support.dialogue import dialogue, said, send_line, wait_until
from support.postgresql import GREEDY, postgresql

MEGABYTES = 64
SHORT = "batch: nightly export"
# longer than the arguments of the programs below: it continues over their environment
LONG = "batch: nightly export of " + ", ".join(f"table {number} of 40" for number in range(1, 41))
# each takes its title from the first line that it reads, and memory at the second
PROGRAMS = {
    "setproctitle": (
        "python3",
        "-c",
        "from setproctitle import setproctitle; setproctitle(input()); print('ready', flush=True); input();"
        " hoard = bytearray(1 << 30)",
    ),
    "ruby": ("ruby", "-e", "$0 = gets.chomp; puts 'ready'; $stdout.flush; gets; 'x' * (1 << 30)"),
}


@pytest.fixture
def place(tmp_path: Path) -> Tree:
    share = tmp_path / "share"
    share.mkdir()
    return tree(share)


@pytest.mark.parametrize("title", [SHORT, LONG], ids=["short", "long"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_rewritten_title_is_in_the_line(tracer, cgroup, place, program, title):
    # ROOM: neither program can write beyond its environment
    with dialogue(place, *PROGRAMS[program], cgroup=cgroup(MEGABYTES), env={"ROOM": "x" * len(LONG)}) as victim:
        send_line(victim, title)
        assert said(victim) == "ready"
        shown = title_of(victim.pid)
        send_line(victim, "go")
        (line,) = tracer.lines_of([victim.pid])

    assert shown == title
    assert line["process"]["title"] == shown
    assert "command_args" not in line["process"]


def test_a_postgresql_backend_has_its_user_database_and_command(tracer, cgroup, place):
    with (
        postgresql(place) as psql,
        dialogue(place, *psql, "--username=app", "--dbname=appdb") as client,
    ):
        send_line(client, "SELECT pg_backend_pid();")
        backend = int(said(client))
        cgroup(MEGABYTES).join(backend)
        idle = title_of(backend)
        send_line(client, GREEDY)
        wait_until(lambda: title_of(backend) != idle)
        shown = title_of(backend)
        (line,) = tracer.lines_of([backend])

    assert shown == "postgres: app appdb [local] SELECT"
    assert line["process"]["title"] == shown
    assert line["job"]["system"] == "postgresql"


def title_of(pid: int) -> str:
    """Read a title; the zeros after it fill the space of the arguments."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
