# SPDX-License-Identifier: Apache-2.0
"""A victim's context in its line, against /proc and its sockets just before the kill."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import stat
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from support.descriptors import KINDS
from support.fuse import SilentFile
from support.tracer import RunningTracer
from support.victims import compile_victim
from support.witness import KernelLog, oom_kill_count

LINE_LIMIT = 8000
LOOKED_AT = 1024
ARGUMENTS = 4096
"""Bytes of arguments that are read."""
SIXTY = 60
SOON_S = 0.9
"""A line is held for 250 ms; the first check of the kernel's count is due after a second."""
TABLES = {
    "tcp": (("tcp", 9), ("tcp6", 9)),
    "udp": (("udp", 9), ("udp6", 9)),
    "unix": (("unix", 6),),
}
"""Files in /proc/PID/net, and the column of the inode number."""


def text(raw):
    return raw.decode("utf-8", "backslashreplace")


def arguments(pid):
    return [text(argument) for argument in Path(f"/proc/{pid}/cmdline").read_bytes()[:-1].split(b"\0")]


def open_files(pid):
    folder = Path(f"/proc/{pid}")
    counts = dict.fromkeys(["total", *KINDS.values(), *TABLES], 0)
    inodes = set()
    for descriptor in folder.joinpath("fd").iterdir():
        if int(descriptor.name) < LOOKED_AT:
            status = descriptor.stat()
            counts["total"] += 1
            counts[KINDS[stat.S_IFMT(status.st_mode)]] += 1
            inodes.add(str(status.st_ino) if stat.S_ISSOCK(status.st_mode) else "")
    for transport, tables in TABLES.items():
        for table, column in tables:
            rows = folder.joinpath("net", table).read_bytes().splitlines()[1:]
            counts[transport] += sum(1 for row in rows if row.split()[column].decode() in inodes)
    return counts


def look(pid):
    """Return the facts of /proc about a process, in the form of its line."""
    folder = Path(f"/proc/{pid}")
    return {
        "command_args": arguments(pid),
        "executable": {"path": str(folder.joinpath("exe").readlink())},
        "working_directory": str(folder.joinpath("cwd").readlink()),
        "open_files": open_files(pid),
    }


def facts_of(line, seen):
    """Return the facts of a line that `seen` has, too."""
    return {name: line["process"].get(name) for name in seen}


def end_of(address):
    if isinstance(address, (str, bytes)):
        name = os.fsencode(address)
        return {"address": text(b"@" + name[1:] if name[:1] == b"\0" else name)} if name else None
    return {"address": address[0], "port": address[1]} if address[1] else None


def described(sock):
    """Return a socket as its line should show it, as seen through our own descriptor of it."""
    local, remote, state = end_of(sock.getsockname()), None, None
    with suppress(OSError):  # not connected
        remote, state = end_of(sock.getpeername()), "established"
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        state = "listen"
    transport = "tcp" if sock.type == socket.SOCK_STREAM else "udp"
    if sock.family == socket.AF_UNIX:
        transport = "unix"
    known = {"fd": sock.fileno(), "transport": transport, "state": state, "local": local, "remote": remote}
    return {name: value for name, value in known.items() if value is not None}


class Net:
    """Servers of all kinds, and sockets connected to them."""

    def __init__(self, stack, folder):
        self._stack, self.path = stack, folder / "named"
        self.tcp = self.socket(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
        self.tcp6 = self.socket(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0))
        self.udp = self.socket(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        self.unix = self.socket(socket.AF_UNIX, socket.SOCK_STREAM, str(self.path))
        for sock in (self.tcp, self.tcp6, self.unix):
            sock.listen(1024)

    def socket(self, family, kind, bound=None, connected=None):
        sock = self._stack.enter_context(socket.socket(family, kind))
        if bound:
            sock.bind(bound)
        if connected:
            sock.connect(connected.getsockname())
        return sock

    def connected(self):
        servers = (self.tcp, self.tcp6, self.udp, self.unix)
        return [self.socket(sock.family, sock.type, connected=sock) for sock in servers]


@pytest.fixture
def net(tmp_path):
    with ExitStack() as stack:
        yield Net(stack, tmp_path)


def hand_over(sockets):
    """Return the descriptors that a victim inherits for these sockets, and how its line should show them."""
    return [sock.fileno() for sock in sockets], [described(sock) for sock in sockets]


def by_fd(line):
    return sorted(line["process"]["connections"], key=lambda end: end["fd"])


def hold(victim, cgroup, mode="hold", megabytes=32, **more):
    """Start a victim that another process's allocation will kill."""
    process = victim(mode, cgroup, megabytes, **more).go()
    assert process.said() == "holding"
    return process


def kill_by_another(victim, cgroup, held):
    victim("hog", cgroup, 24).go()
    assert held.end() == -signal.SIGKILL


def raw_line(tracer, pid):
    (raw,) = (
        raw
        for raw in tracer.output.read_bytes().splitlines(keepends=True)
        if json.loads(raw)["process"].get("pid") == pid
    )
    return raw


ODD = (
    b"two words",
    b"it's",
    b'"quoted"',
    b"back\\slash",
    b"tab\tand\nnewline",
    b"\xff\xfe\x80bad",
    b"",
    "naïve-名".encode(),
    b"$(x) `y` ;&|*",
    b"--queue=default,low",
    b"\x1b[31mred\x1b[m",
    b"\xc2\x9b31m",
    b" ",
)


def odd_arguments(i):
    odd = [ODD[(i + j) % len(ODD)] for j in range(4)]
    if i % 6 == 0:
        odd.append((b"long-%d-" % i).ljust(1500, b"x"))
    if i % 6 == 3:
        odd += [b"%09d" % (150 * i + j) for j in range(150)]
    return [b"victim-%d" % i, *odd]


def test_the_lines_of_sixty_victims_of_64_mib_to_1_gib_have_all_arguments_and_connections(
    tracer, cgroup, victim, net, validate
):
    log = KernelLog()
    plain = victim("hog", cgroup(24)).go()
    plain.end()
    parent = cgroup()
    own, others = cgroup(name=f"{parent.path[1:]}/own"), cgroup(name=f"{parent.path[1:]}/others")
    expected, triggers = {}, {}
    for i in range(SIXTY):
        megabytes = 64 + 960 * i // (SIXTY - 1)
        sockets = net.connected()
        fds, connections = hand_over(sockets)
        process = victim("hold" if i % 2 else "hog", own, megabytes, arguments=odd_arguments(i), fds=fds)
        for each in sockets:
            each.close()
        expected[process.pid] = {**look(process.pid), "connections": connections}
        assert expected[process.pid]["open_files"]["tcp"] == 2
        triggers[process.pid] = process.pid
        if i % 2:
            parent.limit(megabytes + 12 << 20)
            assert process.go().said() == "holding"
            grower = victim("hog", others, 32).go()
            triggers[process.pid] = grower.pid
        else:
            parent.limit(megabytes - 12 << 20)
            process.go()
        assert process.end() == -signal.SIGKILL
        log.lines()  # before the tables of those to come push its own out

    unknowable = tracer.lines_of([plain.pid])[0]["missing"]
    lines = tracer.lines_of(list(expected))

    assert len(expected) == SIXTY
    assert sorted(line["process"]["pid"] for line in lines) == sorted(expected)
    assert expected.keys() <= log.kills().keys()
    assert own.oom_kills() == SIXTY
    assert others.oom_kills() == 0
    assert all(name.startswith("oom.") for name in unknowable)
    for line in lines:
        validate(line)
        pid = line["process"]["pid"]
        assert line["oom"]["trigger"]["pid"] == triggers[pid]
        assert facts_of(line, expected[pid]) == expected[pid]
        assert line["missing"] == unknowable
        assert not {"truncated", "redacted", "withheld", "dropped_before"} & line.keys()
    assert len({tuple(line["process"]["command_args"]) for line in lines}) == SIXTY


@pytest.mark.parametrize("number", [1024, 1025, 5000])
def test_the_first_1024_descriptors_are_counted_and_no_more(tracer, cgroup, victim, number, validate):
    limited = cgroup(48)
    process = hold(victim, limited, "files", number)
    seen = look(process.pid)
    assert len(list(Path(f"/proc/{process.pid}/fd").iterdir())) == number
    assert seen["open_files"]["total"] == LOOKED_AT
    kill_by_another(victim, limited, process)

    (line,) = tracer.lines_of([process.pid])

    validate(line)
    if number > LOOKED_AT:
        seen["open_files"]["incomplete"] = True
    assert facts_of(line, seen) == seen


def test_of_200_connections_all_are_counted_and_the_first_are_listed(tracer, cgroup, victim, net, validate):
    sockets = [net.socket(socket.AF_INET, socket.SOCK_STREAM, connected=net.tcp) for _ in range(200)]
    fds, connections = hand_over(sockets)
    process = victim("hog", cgroup(24), fds=fds)
    seen = look(process.pid)
    assert seen["open_files"]["tcp"] == 200
    process.go().end()

    (line,) = tracer.lines_of([process.pid])

    validate(line)
    assert facts_of(line, seen) == seen
    shown = line["process"]["connections"]
    assert shown == connections[: len(shown)]
    assert len(shown) == 32 or (len(shown) < 32 and "process.connections" in line["truncated"])
    assert len(raw_line(tracer, process.pid)) <= LINE_LIMIT


def nameless():
    return [sock for _ in range(40) for sock in socket.socketpair()]


def pings():
    return [socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) for _ in range(40)]


CROWD = 600
"""The first descriptor of many: higher than any that pytest has opened."""


@pytest.mark.parametrize("place", [CROWD - 1, CROWD + 100], ids=["before", "behind"])
@pytest.mark.parametrize(("others", "server"), [(nameless, "unix"), (pings, "tcp")], ids=["unix", "tcp"])
def test_a_connection_among_many_other_sockets_is_listed_or_the_line_is_marked_truncated(
    tracer, cgroup, victim, net, others, server, place
):
    with ExitStack() as stack:

        def at(fd, sock):
            stack.callback(os.close, fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, fd))
            return fd

        crowd = [stack.enter_context(sock) for sock in others()]
        fds = [at(fd, sock) for fd, sock in enumerate(crowd, CROWD)]
        server = getattr(net, server)
        connection = net.socket(server.family, server.type, connected=server)
        expected = {**described(connection), "fd": at(place, connection)}
        process = victim("hog", cgroup(24), fds=[*fds, place])
    process.go().end()

    (line,) = tracer.lines_of([process.pid])

    if server is net.tcp:  # raw sockets without an address take no place in the list
        assert line["process"]["connections"] == [expected]
        assert "truncated" not in line
    else:  # the kernel side looks at so many Unix domain sockets and no further
        assert line["process"]["connections"] == [expected] * (place < CROWD)
        assert line["truncated"] == ["process.connections"]


def test_of_sixty_named_sockets_sixteen_are_listed_and_the_line_is_marked_truncated(tracer, cgroup, victim, tmp_path):
    with ExitStack() as stack:
        named = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(60)]
        for i, process in enumerate(named):
            # the longest name there is, once
            process.bind(f"\0oomtrace-test-{os.getpid()}-{i}".ljust(108 if i == 0 else 0, "x"))
        process = victim("hog", cgroup(24), fds=[sock.fileno() for sock in named])
        process.go().end()

    (line,) = tracer.lines_of([process.pid])

    listed = line["process"]["connections"]
    assert len(listed) == 16
    assert len(listed[0]["local"]["address"]) == 108
    assert line["process"]["open_files"]["unix"] == 60
    assert "process.connections" in line["truncated"]


@pytest.mark.parametrize("argv", [[b""], []], ids=["an empty name", "none at all"])
def test_without_arguments_there_is_one_empty_name(tracer, cgroup, victim, argv):
    process = victim("hog", cgroup(24), argv=argv)
    assert Path(f"/proc/{process.pid}/cmdline").read_bytes() == b"\0"
    process.go().end()

    (line,) = tracer.lines_of([process.pid])

    assert line["process"]["command_args"] == [""]
    assert "title" not in line["process"]


def test_a_megabyte_of_arguments_is_cut(tracer, cgroup, victim, validate):
    process = victim("hog", cgroup(24), arguments=[b"%05d-" % i + b"x" * 120_000 for i in range(9)])
    seen = look(process.pid)
    assert sum(map(len, seen["command_args"])) > 1 << 20
    process.go().end()

    (line,) = tracer.lines_of([process.pid])

    validate(line)
    whole = seen.pop("command_args")
    assert "\0".join(line["process"]["command_args"]) == "\0".join(whole)[:ARGUMENTS]
    assert facts_of(line, seen) == seen
    assert "process.command_args" in line["truncated"]
    assert len(raw_line(tracer, process.pid)) <= LINE_LIMIT


@pytest.mark.parametrize("more", [0, 1], ids=["all", "one too many"])
def test_4096_bytes_of_arguments_are_complete_wherever_their_pages_begin(tracer, cgroup, victim, program, more):
    """They do not begin at a page: they are on two, of which the second one has the end."""
    first = [os.fsencode(program), b"hog", b"256"]
    rest = ARGUMENTS - sum(len(argument) + 1 for argument in first)
    arguments = [b"first".ljust(rest // 2 - 1, b"x"), b"last".ljust(rest - rest // 2 - 1 + more, b"y")]
    process = victim("hog", cgroup(24), arguments=arguments)
    assert len(Path(f"/proc/{process.pid}/cmdline").read_bytes()) == ARGUMENTS + more
    process.go().end()

    (line,) = tracer.lines_of([process.pid])

    assert line["process"]["command_args"] == [text(argument) for argument in (*first, *arguments)]
    assert ("process.command_args" in line.get("truncated", ())) == (more > 0)


def test_an_environment_above_4096_bytes_is_complete(tmp_path, cgroup, victim, validate):
    env = {b"VALUE_%02d" % i: b"%02d" % i * 105 for i in range(20)}
    with RunningTracer(tmp_path, "--env", "VALUE_*", "--no-network") as tracer:
        process = victim("hog", cgroup(24), env=env)
        assert len(Path(f"/proc/{process.pid}/environ").read_bytes()) > 4096
        process.go().end()
        (line,) = tracer.lines_of([process.pid])

    validate(line)
    assert line["process"]["environment"] == {text(name): text(value) for name, value in env.items()}
    assert "truncated" not in line


def test_arguments_that_escaping_makes_too_long_are_cut_and_nothing_is_added(tracer, cgroup, victim, validate):
    process = victim("hog", cgroup(24), arguments=[b"\xff" * 1800])
    seen = look(process.pid)
    whole = seen.pop("command_args")
    process.go().end()

    (line,) = tracer.lines_of([process.pid])

    validate(line)
    shown = line["process"]["command_args"]
    assert len(shown) == len(whole)
    assert all(whole[i].startswith(text) for i, text in enumerate(shown))
    assert "process.command_args" in line["truncated"]
    assert facts_of(line, seen) == seen
    assert line["process"]["connections"] == []
    assert "process.connections" not in line["truncated"]
    assert len(raw_line(tracer, process.pid)) <= LINE_LIMIT


def test_every_kind_of_descriptor_is_counted_as_what_it_is(tracer, cgroup, victim, net, tmp_path, validate):
    with ExitStack() as stack:

        def keep(*fds):
            for fd in fds:
                stack.callback(os.close, fd)
            return fds

        abstract = net.socket(socket.AF_UNIX, socket.SOCK_STREAM, b"\0oomtrace-test-%d" % os.getpid())
        bound = net.socket(socket.AF_UNIX, socket.SOCK_DGRAM, str(tmp_path / "bound"))
        shared = net.connected()
        shared += [net.tcp, net.tcp6, net.udp, net.unix, abstract, bound]
        fds, connections = hand_over(sorted(shared, key=lambda sock: sock.fileno()))
        fds += [sock.fileno() for sock in map(stack.enter_context, socket.socketpair())]  # unnamed, and not listed
        fds += keep(*os.pipe(), *os.openpty())
        fds += keep(os.open(tmp_path, os.O_RDONLY), os.open(tmp_path / "file", os.O_CREAT), os.eventfd(0))
        fds += keep(os.open("/dev/null", os.O_RDONLY), os.memfd_create("memory"), os.open(tmp_path, os.O_PATH))
        fds += keep(os.timerfd_create(time.CLOCK_MONOTONIC)) if hasattr(os, "timerfd_create") else ()
        fds += [stack.enter_context(select.epoll()).fileno(), stack.enter_context(tempfile.TemporaryFile()).fileno()]
        process = victim("hog", cgroup(24), fds=fds)
    seen = look(process.pid)
    assert all(seen["open_files"].values())
    assert seen["open_files"]["total"] == 3 + len(fds)
    process.go().end()

    (line,) = tracer.lines_of([process.pid])

    validate(line)
    assert facts_of(line, seen) == seen
    assert by_fd(line) == connections


def test_a_victim_that_sleeps_where_sigkill_does_not_wake_it_has_its_line_at_once(
    tmp_path, cgroup, victim, net, validate
):
    fds, connections = hand_over(net.connected())
    for attempt in range(5):
        limited, folder = cgroup(48), tmp_path / str(attempt)
        folder.mkdir()
        with SilentFile(folder) as silent, RunningTracer(folder, "--lifecycle") as tracer:
            process = hold(victim, limited, "reader", fds=fds, env={b"VICTIM_FILE": bytes(silent.path)})
            silent.wait_for_reader()
            seen = look(process.pid)
            time.sleep(2)  # nothing is due from an earlier kill
            before = oom_kill_count()
            victim("hog", limited, 24).go()
            began = time.monotonic()
            (line,) = tracer.lines_of([process.pid])
            took = time.monotonic() - began
            kills = oom_kill_count() - before
            status = Path(f"/proc/{process.pid}/status").read_text()
            silent.answer()
            assert process.end() == -signal.SIGKILL
            _, gone = wait_for_lines(tracer, process.pid, 2)
        # the tracer must wake up by itself: after 250 ms, not with another kill, nor when it next compares the counts
        if kills == 1 and took < SOON_S:
            break

    assert "State:\tD" in status  # the line came while its process could not exit
    assert took < (SOON_S if kills == 1 else 10)
    validate(line)
    unknown = {"process.executable", "process.working_directory", "process.open_files", "process.connections"}
    assert unknown <= set(line["missing"])  # only the victim itself can read these
    assert line["process"].get("command_args", seen["command_args"]) == seen["command_args"]
    assert ("process.command_args" in line["missing"]) == ("command_args" not in line["process"])
    validate(gone)
    assert gone["event"] == "oom_exit"
    assert gone["exit"]["kill"] == line["id"]
    assert not unknown & set(gone["missing"])
    assert facts_of(gone, seen) == seen
    assert by_fd(gone) == connections


def wait_for_lines(tracer, pid, count):
    deadline = time.monotonic() + 30
    while True:
        mine = [line for line in tracer.lines() if line["process"].get("pid") == pid]
        if len(mine) >= count:
            return mine
        assert time.monotonic() < deadline, mine
        time.sleep(0.02)


ENVIRONMENT = {
    b"QUEUE": b"high, 'low' \xff\n=\t\"",
    b"QUEUE_2": b"unasked-1",
    b"AQUEUE": b"unasked-2",
    b"queue": b"unasked-3",
    b"EMPTY": b"",
    b"AIRFLOW_CTX_DAG_ID": "täglich".encode(),
    b"AIRFLOW_CTX_TASK_ID": b"load",
    b"AIRFLOW_CT": b"unasked-4",
    b"XAIRFLOW_CTX_DAG_ID": b"unasked-5",
}


def test_only_the_requested_environment_is_included(tmp_path, cgroup, victim, validate):
    allowed = ("--env", "QUEUE", "--env", "EMPTY", "--env", "ABSENT", "--env", "AIRFLOW_CTX_*")
    with RunningTracer(tmp_path, *allowed) as tracer:
        process = victim("hog", cgroup(24), env=ENVIRONMENT)
        pairs = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")[:-1]
        assert dict(pair.split(b"=", 1) for pair in pairs) == ENVIRONMENT
        process.go().end()
        (line,) = tracer.lines_of([process.pid])

    validate(line)
    asked = ("QUEUE", "EMPTY", "AIRFLOW_CTX_DAG_ID", "AIRFLOW_CTX_TASK_ID")
    assert line["process"]["environment"] == {name: text(ENVIRONMENT[name.encode()]) for name in asked}
    assert b"unasked" not in tracer.output.read_bytes()


def test_no_environment_is_included_by_default(tracer, cgroup, victim):
    process = victim("hog", cgroup(24), env={b"QUEUE": b"unasked"})
    process.go().end()

    (line,) = tracer.lines_of([process.pid])

    assert "environment" not in line["process"]
    assert "process.environment" not in line["missing"]
    assert b"unasked" not in tracer.output.read_bytes()


def test_no_cmdline_omits_arguments_and_title(tmp_path, cgroup, victim, validate):
    limited = cgroup(48)
    with RunningTracer(tmp_path, "--no-cmdline") as tracer:
        plain = victim("hog", limited, arguments=[b"private-argument"])
        plain.go().end()
        titled = hold(victim, limited, env={b"VICTIM_TITLE": b"private-title"})
        seen = look(titled.pid)
        kill_by_another(victim, limited, titled)
        (with_arguments,), (with_title,) = tracer.lines_of([plain.pid]), tracer.lines_of([titled.pid])

    assert with_arguments["withheld"] == ["process.command_args"]
    assert with_title["withheld"] == ["process.command_args"]  # none is read, so which of the two it had is unknown
    for line in (with_arguments, with_title):
        validate(line)
        assert not {"title", "command_args"} & line["process"].keys()
        assert "process.command_args" not in line["missing"]
        assert line["process"]["executable"] == seen["executable"]
    assert b"private" not in tracer.output.read_bytes()


@pytest.mark.parametrize("mode", ["parent", "changed-parent"])
def test_a_child_without_an_execve_of_its_own_has_its_parents_arguments(tracer, cgroup, victim, mode, net):
    fds, connections = hand_over(net.connected())
    parent = victim(mode, cgroup(24), arguments=[b"as the parent's"], fds=fds)
    started = look(parent.pid)
    pid = int(parent.go().said())
    parent_comm = Path(f"/proc/{parent.pid}/comm")
    while mode == "changed-parent" and parent_comm.read_text() != "sleep\n":
        time.sleep(0.01)
    seen = look(pid)
    assert seen["command_args"] == started["command_args"]
    parent.go()

    (line,) = tracer.lines_of([pid])

    assert facts_of(line, seen) == seen
    assert by_fd(line) == connections
    assert line["process"]["parent"]["pid"] == parent.pid
    assert line["process"]["parent"]["comm"] == parent_comm.read_text()[:-1]


def test_a_victim_in_a_chroot_has_paths_as_it_saw_them(tracer, cgroup, victim, program, tmp_path, validate):
    root = tmp_path / "root"
    inside = root / program.relative_to("/")
    inside.parent.mkdir(parents=True)
    compile_victim(inside.parent, "-static")
    limited = cgroup(48)
    process = hold(victim, limited, wrapper=(shutil.which("chroot"), root))
    seen = look(process.pid)
    assert seen["executable"]["path"] == str(inside)
    assert seen["working_directory"] == str(root)
    kill_by_another(victim, limited, process)

    (line,) = tracer.lines_of([process.pid])

    validate(line)
    expected = {**seen, "executable": {"path": str(program)}, "working_directory": "/"}
    assert facts_of(line, expected) == expected


def test_a_working_directory_on_another_mount_is_complete(tracer, cgroup, victim):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        deep = Path(folder, "a", "b c")
        deep.mkdir(parents=True)
        assert deep.stat().st_dev != Path("/").stat().st_dev
        process = victim("hog", cgroup(24), cwd=deep)
        seen = look(process.pid)
        process.go().end()
        (line,) = tracer.lines_of([process.pid])

    assert seen["working_directory"] == str(deep)
    assert facts_of(line, seen) == seen


def test_a_working_directory_that_was_deleted_does_no_harm(tracer, cgroup, victim, tmp_path, validate):
    deleted = tmp_path / "deleted"
    deleted.mkdir()
    process = victim("hog", cgroup(24), cwd=deleted)
    deleted.rmdir()
    seen = look(process.pid)
    assert seen.pop("working_directory") == f"{deleted} (deleted)"
    process.go().end()

    (line,) = tracer.lines_of([process.pid])

    validate(line)
    assert facts_of(line, seen) == seen
    assert line["process"]["working_directory"].removesuffix(" (deleted)") == str(deleted)


@pytest.mark.parametrize(
    "title",
    [b"worker 3: idle", b"worker 3: \xff\"'\n" + b"long " * 100 + b"end"],
    ids=["shorter than the arguments", "longer than the arguments"],
)
def test_a_title_written_over_the_arguments_is_reported_as_a_title(tracer, cgroup, victim, title, validate):
    limited = cgroup(48)
    process = hold(victim, limited, arguments=[b"an overwritten argument"], env={b"VICTIM_TITLE": title})
    assert Path(f"/proc/{process.pid}/cmdline").read_bytes().rstrip(b"\0") == title
    kill_by_another(victim, limited, process)

    (line,) = tracer.lines_of([process.pid])

    validate(line)
    assert line["process"]["title"] == text(title)
    assert "command_args" not in line["process"]
    assert "process.command_args" not in line["missing"]


def test_each_of_forty_kills_eight_at_once_has_its_own_arguments(tmp_path, cgroup, victim):
    with RunningTracer(tmp_path, "--timeout-factor", "20") as tracer:  # on a busy machine victims run late
        check_forty_kills(tracer, cgroup, victim)


def check_forty_kills(tracer, cgroup, victim):
    limits = [cgroup(24) for _ in range(8)]
    started = [victim("hog", limits[i % 8], arguments=[b"burst-%d" % i]) for i in range(40)]
    expected = {process.pid: look(process.pid) for process in started}
    assert len({seen["command_args"][-1] for seen in expected.values()}) == 40
    for i in range(0, 40, 8):
        for process in started[i : i + 8]:
            process.go()
        for process in started[i : i + 8]:
            assert process.end() == -signal.SIGKILL

    lines = tracer.lines_of(list(expected))

    assert sorted(line["process"]["pid"] for line in lines) == sorted(expected)
    for line in lines:
        assert facts_of(line, expected[line["process"]["pid"]]) == expected[line["process"]["pid"]]
    assert sum(limited.oom_kills() for limited in limits) == 40
