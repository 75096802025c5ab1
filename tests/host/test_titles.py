# SPDX-License-Identifier: Apache-2.0
"""What real programs write over their arguments: the line has it as /proc showed it until the process died."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.debian import Tree, tree

PATIENCE_S = 60
MEGABYTES = 64
SHORT = "batch: nightly export"
# longer than the arguments of the programs below: it goes on in what was their environment
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
        tell(victim, title)
        assert said(victim) == "ready"
        shown = title_of(victim.pid)
        tell(victim, "go")
        (line,) = tracer.lines_of([victim.pid])

    assert shown == title
    assert line["process"]["title"] == shown
    assert "command_args" not in line["process"]


def test_a_postgresql_backend_says_whose_query_it_was_at(tracer, cgroup, place):
    with (
        postgresql(place) as psql,
        dialogue(place, *psql, "--username=app", "--dbname=appdb") as client,
    ):
        tell(client, "SELECT pg_backend_pid();")
        backend = int(said(client))
        cgroup(MEGABYTES).join(backend)
        idle = title_of(backend)
        # the sleep comes first, and is time to read the title in
        tell(client, "SELECT array_agg(repeat('x', 8000000)) FROM generate_series(1, 100), pg_sleep(1);")
        wait_until(lambda: title_of(backend) != idle)
        shown = title_of(backend)
        (line,) = tracer.lines_of([backend])

    assert shown == "postgres: app appdb [local] SELECT"
    assert line["process"]["title"] == shown
    assert line["job"]["system"] == "postgresql"


def title_of(pid: int) -> str:
    """Read a title; the zeros after it are what is left of the arguments' room."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin
    process.stdin.write(f"{text}\n")
    process.stdin.flush()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def dialogue(place: Tree, *command: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a program to talk with, and see it off whatever happens."""
    process = place.start(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **more)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def postgresql(place: Tree) -> Iterator[tuple[str, ...]]:
    """Run a server with a database `appdb` of the user `app`, and yield the command to talk to it."""
    place.share.chmod(0o777)
    programs = Path("/") / next(place.root.glob("usr/lib/postgresql/*/bin")).relative_to(place.root)
    psql = (f"{programs}/psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--host=/srv")
    place.run(f"{programs}/initdb", "--pgdata=/srv/data", "--auth=trust", "--no-sync", "--locale=C", user="postgres")
    settings = ("listen_addresses=", "unix_socket_directories=/srv", "shared_buffers=1MB", "fsync=off")
    options = [f"--{setting}" for setting in settings]
    log = place.share / "log"
    with log.open("w") as out:
        server = place.start(f"{programs}/postgres", "-D", "/srv/data", *options, user="postgres", stderr=out)
    try:
        wait_until(lambda: server.poll() is not None or "ready to accept connections" in log.read_text())
        create = ("--command=CREATE ROLE app LOGIN", "--command=CREATE DATABASE appdb OWNER app")
        place.run(*psql, "--username=postgres", *create)
        yield psql
    finally:
        # at once: a killed backend makes it begin anew, and nothing there is worth keeping
        server.send_signal(signal.SIGQUIT)
        server.wait(PATIENCE_S)
