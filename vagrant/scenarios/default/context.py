# SPDX-License-Identifier: Apache-2.0
"""What a victim was doing: ten of them, every other one killed for what somebody else has taken."""

import os
import signal
import socket
import stat
import sys
import time
from pathlib import Path

from _checks import at
from _stage import stage

VICTIMS = 10
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
hoard = bytearray(40 << 20)
print("holding", flush=True)
{then}
"""

with stage() as on:
    server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=100)
    port = server.getsockname()[1]
    Path(UNIX).unlink(missing_ok=True)
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(UNIX)
    unix.listen(100)
    pids, said = [], {}
    for i in range(VICTIMS):
        alone = i % 2 == 0
        limited = on.cgroup(64)
        then = "hoard += bytearray(80 << 20)" if alone else "input()"
        code = CODE.format(port=port, unix=UNIX, then=then)
        one = on.python(f"exec({code!r}) # {i} {'x' * 300}", limited)
        assert one.stdout
        ports = [int(word) for word in one.stdout.readline().split()]
        on.equal("victim", one.stdout.readline(), b"holding\n")
        arguments = Path(f"/proc/{one.pid}/cmdline").read_bytes() if not alone else b""
        grower = None if alone else on.victim("hog", limited, 30).go()
        one.wait()
        pids.append(one.pid)
        # a slow machine may not have the first one's memory back in time, and kill again
        if grower and grower.end() == -signal.SIGKILL:
            pids.append(grower.pid)
        time.sleep(0.6)  # the kernel logs no more than ten OOMs whole in five seconds
        said[one.pid] = (ports, f"# {i} {'x' * 300}", arguments)
    lines = {line["process"]["pid"]: line for line in on.kills(pids)}
    on.equal("lines", len(lines.keys() & said.keys()), VICTIMS)
    for pid, line in lines.items():
        if pid not in said:
            continue
        ports, end, arguments = said[pid]
        process = line["process"]
        args = process.get("command_args", [])
        on.equal(f"{pid} missing", line["missing"], [])
        on.equal(f"{pid} derived", line["derived"], [])
        on.equal(f"{pid} program", args[:2], [sys.executable, "-c"])
        on.equal(f"{pid} end of its arguments", args[-1:] and args[-1][-len(end) :], end)
        if arguments:
            on.equal(f"{pid} arguments", [os.fsencode(arg) for arg in args], arguments.split(b"\0")[:-1])
        on.equal(f"{pid} executable", at(line, "process.executable.path"), os.path.realpath(sys.executable))
        on.equal(f"{pid} directory", process.get("working_directory"), str(Path.cwd()))
        told = [
            (one["transport"], one.get("local", {}).get("port"), one["remote"]["address"], one["remote"].get("port"))
            for one in process.get("connections", [])
        ]
        expected = [
            ("tcp", ports[0], "127.0.0.1", port),
            ("tcp", ports[1], "::1", port),
            ("udp", ports[2], "127.0.0.1", 9),
            ("unix", None, UNIX, None),
        ]
        on.equal(f"{pid} connections", sorted(told), sorted(expected))
        files = process.get("open_files", {})
        on.equal(f"{pid} sockets", [files.get(name) for name in ("socket", "tcp", "udp", "unix")], [4, 2, 1, 1])
        # stdin and stdout, two of its own, and what it has from us
        on.equal(f"{pid} pipes", files.get("pipe"), 4 + stat.S_ISFIFO(os.fstat(2).st_mode))
        on.equal(f"{pid} anonymous", files.get("anonymous"), 1)
