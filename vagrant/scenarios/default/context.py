# SPDX-License-Identifier: Apache-2.0
"""What a victim was doing: ten of them, every other one killed because another process allocates."""

import os
import signal
import socket
import stat
import sys
import time
from pathlib import Path

from _proc import command_args
from _scenario import scenario
from _tolerances import at

VICTIMS = 10

HUGE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
HUGE_PAGE = int(HUGE.read_text()) >> 20 if HUGE.exists() else 2
"""MiB: 32 where pages have 16 KiB. A process may use a few more than it asks for, so the limit has room for eight."""
LIMIT = max(64, 8 * HUGE_PAGE)
"""MiB."""
UNIX = "/tmp/context.sock"
CODE = """
import os, socket
tcp = [socket.create_connection((host, {port})) for host in ("127.0.0.1", "::1")]
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.connect(("127.0.0.1", 9))
unix = socket.socket(socket.AF_UNIX)
unix.connect("{unix}")
pipe = os.pipe()
event = os.eventfd(0) if hasattr(os, "eventfd") else os.epoll_create()
print(*(one.getsockname()[1] for one in (*tcp, udp)), flush=True)
hoard = bytearray({hoard} << 20)
print("holding", flush=True)
{then}
"""


with scenario() as run:
    server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=100)
    port = server.getsockname()[1]
    Path(UNIX).unlink(missing_ok=True)
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(UNIX)
    unix.listen(100)
    pids, known = [], {}
    for i in range(VICTIMS):
        alone = i % 2 == 0
        limited = run.cgroup(LIMIT)
        then = f"hoard += bytearray({LIMIT * 5 // 4} << 20)" if alone else "input()"
        code = CODE.format(port=port, unix=UNIX, hoard=LIMIT * 5 // 8, then=then)
        victim = run.python(f"exec({code!r}) # {i} {'x' * 300}", limited)
        assert victim.stdout
        ports = [int(word) for word in victim.stdout.readline().split()]
        run.equal("victim", victim.stdout.readline(), b"holding\n")
        arguments = command_args(Path(f"/proc/{victim.pid}")) if not alone else []
        grower = None if alone else run.victim("hog", limited, LIMIT * 15 // 32).go()
        victim.wait()
        pids.append(victim.pid)
        # a slow machine may not have freed the first victim's memory in time, and kill again
        if grower and grower.end() == -signal.SIGKILL:
            pids.append(grower.pid)
        time.sleep(0.6)  # the kernel prints at most ten full reports in five seconds
        known[victim.pid] = (ports, f"# {i} {'x' * 300}", arguments)
    lines = {line["process"]["pid"]: line for line in run.kills(pids)}
    run.equal("lines", len(lines.keys() & known.keys()), VICTIMS)
    for pid, line in lines.items():
        if pid not in known:
            continue
        ports, end, arguments = known[pid]
        process = line["process"]
        args = process.get("command_args", [])
        run.equal(f"{pid} missing", line["missing"], [])
        run.equal(f"{pid} derived", line["derived"], [])
        run.equal(f"{pid} program", args[:2], [sys.executable, "-c"])
        run.equal(f"{pid} end of its arguments", args[-1:] and args[-1][-len(end) :], end)
        if arguments:
            run.equal(f"{pid} arguments", [os.fsencode(arg) for arg in args], arguments)
        run.equal(f"{pid} executable", at(line, "process.executable.path"), os.path.realpath(sys.executable))
        run.equal(f"{pid} directory", process.get("working_directory"), str(Path.cwd()))
        connections = [
            (end["transport"], end.get("local", {}).get("port"), end["remote"]["address"], end["remote"].get("port"))
            for end in process.get("connections", [])
        ]
        expected = [
            ("tcp", ports[0], "127.0.0.1", port),
            ("tcp", ports[1], "::1", port),
            ("udp", ports[2], "127.0.0.1", 9),
            ("unix", None, UNIX, None),
        ]
        run.equal(f"{pid} connections", sorted(connections), sorted(expected))
        files = process.get("open_files", {})
        run.equal(f"{pid} sockets", [files.get(name) for name in ("socket", "tcp", "udp", "unix")], [4, 2, 1, 1])
        # stdin and stdout, two of its own, and stderr if that is a pipe of ours
        run.equal(f"{pid} pipes", files.get("pipe"), 4 + stat.S_ISFIFO(os.fstat(2).st_mode))
        run.equal(f"{pid} anonymous", files.get("anonymous"), 1)
