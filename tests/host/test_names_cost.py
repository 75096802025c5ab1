# SPDX-License-Identifier: Apache-2.0
"""What the files of a thousand containers and the sockets of runtimes that do not answer cost a line and the memory."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from host.test_identity import LIMIT, cgroups
from support.tracer import TIMEOUT_S, RunningTracer, parsed, victim_of
from support.victims import Victim

CONTAINERS = 1000
KILLS = 40
MAX_RATIO = 1.2
ATTEMPTS = 3
"""The two tracers share two CPUs with whatever else runs on the machine."""
MAX_MORE_BYTES = 4 << 20
IDS = [f"{os.getpid():08x}{number:056x}" for number in range(CONTAINERS)]
SOCKETS = ("docker.sock", "containerd/containerd.sock", "crio/crio.sock", "podman/podman.sock")
START = """\
set -eu
for folder in /run /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs "$folder"; done
echo up
exec setpriv --pdeathsig KILL sleep infinity
"""


@contextmanager
def host_files() -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield the root of a host that has no containers yet, and the words before a command that is to see it."""
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", START], stdout=subprocess.PIPE, text=True) as keeper:
        try:
            assert keeper.stdout
            assert keeper.stdout.readline() == "up\n"
            yield Path(f"/proc/{keeper.pid}/root"), ("nsenter", f"--mount=/proc/{keeper.pid}/ns/mnt", "--")
        finally:
            keeper.kill()


def fill(root: Path, open_: ExitStack) -> None:
    """Write the state of all containers, and open sockets that nobody answers."""
    for id_ in IDS:
        labels = {"com.docker.compose.project": f"project-{id_[-6:]}", "com.docker.compose.service": "web"}
        config = {"Name": f"/{name_of(id_)}", "Config": {"Image": f"images.test/{id_[-6:]}:1", "Labels": labels}}
        folder = root / "var/lib/docker/containers" / id_
        folder.mkdir(parents=True)
        (folder / "config.v2.json").write_text(json.dumps(config | {"Padding": "x" * 4000}))
    for name in SOCKETS:
        (root / "run" / name).parent.mkdir(exist_ok=True)
        listener = open_.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(root / "run" / name))
        listener.listen()


def name_of(id_: str) -> str:
    return f"shop-{id_[-6:]}"


def delays(tracers: list[RunningTracer], victim: Victim) -> list[float]:
    """Let a victim die and return, for each tracer, the seconds from the kill until its line was in the file."""
    begins = [tracer.output.stat().st_size for tracer in tracers]
    found: dict[int, float] = {}
    victim.go()
    deadline = time.monotonic() + TIMEOUT_S
    while len(found) < len(tracers):
        assert time.monotonic() < deadline
        for number, tracer in enumerate(tracers):
            if number not in found and (line := line_of(victim.pid, tracer.output, begins[number])):
                found[number] = time.time() - datetime.fromisoformat(line["time"].replace("Z", "+00:00")).timestamp()
        time.sleep(0.0002)
    assert victim.end() == -9
    return [found[number] for number in range(len(tracers))]


def line_of(pid: int, output: Path, begin: int) -> dict[str, Any] | None:
    with output.open("rb") as file:
        file.seek(begin)
        return next((line for line in parsed(file.read()) if victim_of(line) == pid), None)


def anonymous_bytes(tracer: RunningTracer) -> int:
    status = Path(f"/proc/{tracer.process.pid}/status").read_text()
    (kilobytes,) = re.findall(r"^RssAnon:\s*(\d+) kB", status, re.MULTILINE)
    return int(kilobytes) << 10


def test_the_state_of_a_thousand_containers_delays_no_line_and_takes_less_than_four_megabytes(
    program, tmp_path, record_property
):
    with ExitStack() as stack:
        tracers = []
        for name in ("full", "empty"):
            root, wrapper = stack.enter_context(host_files())
            (tmp_path / name).mkdir()
            if name == "full":
                fill(root, stack)
            tracers.append(stack.enter_context(RunningTracer(tmp_path / name, wrapper=wrapper)))
        full, empty = tracers
        for _ in range(ATTEMPTS):
            ratio = ratio_of_delays(full, empty, program)
            if ratio <= MAX_RATIO:
                break
        more = anonymous_bytes(full) - anonymous_bytes(empty)
    print(f"ratio of medians {ratio:.2f}, {more >> 10} KiB more")
    record_property("ratio", ratio)
    assert ratio <= MAX_RATIO
    assert more <= MAX_MORE_BYTES


def ratio_of_delays(full: RunningTracer, empty: RunningTracer, program: Path) -> float:
    """Make kills that both tracers see, and return the ratio of the medians of their delays."""
    found, pids = [], []
    for number, id_ in enumerate(IDS[:KILLS]):
        with cgroups(f"/docker/{id_}") as made:
            made[f"/docker/{id_}"].limit(LIMIT)
            victim = Victim(program, "hog", made[f"/docker/{id_}"])
            # in turn, for the file that is looked at first has the advantage
            tracers = [full, empty] if number % 2 else [empty, full]
            taken = delays(tracers, victim)
            found.append(taken if number % 2 else taken[::-1])
            pids.append(victim.pid)
    names = [line["container"].get("name") for line in full.lines_of(pids)]
    assert names == [name_of(id_) for id_ in IDS[:KILLS]]
    medians = [median(column) for column in zip(*found, strict=True)]
    print(f"medians {medians[0] * 1000:.1f} and {medians[1] * 1000:.1f} ms")
    return medians[0] / medians[1]
