# SPDX-License-Identifier: Apache-2.0
"""A process in a podman container exceeds its limit; the container's first process survives."""

import subprocess
import uuid

from _busybox import image
from _scenario import scenario
from _tolerances import at

PODMAN = ("podman", "--cgroup-manager=cgroupfs", "--events-backend=file")
MEMORY = 64 << 20


def podman(*arguments: str, **more: object) -> str:
    done = subprocess.run([*PODMAN, *arguments], check=True, stdout=subprocess.PIPE, **more)  # type: ignore[call-overload]
    return str(done.stdout.decode().strip())


with scenario() as run:
    name = f"oomtrace-{uuid.uuid4().hex[:8]}"
    podman("import", "--quiet", "-", f"{name}:1", input=image())
    limits = (f"--memory={MEMORY}", f"--memory-swap={MEMORY}")
    shell = "tail /dev/zero; echo status $?; exec tail -f /dev/null"
    container = podman(
        *("run", "--detach", "--rm", "--network=none", "--hostname=web-1", f"--name={name}", *limits),
        *(f"{name}:1", "/bin/sh", "-c", shell),
    )
    try:
        found = run.full.wait(lambda kills: len(kills) > 0)
        (line,) = run.kills([found[0]["process"]["pid"]] if found else [0])
        run.equal("the container lives on", podman("inspect", "--format={{.State.Running}}", name), "true")
        run.true("status of the dead", "status 137" in podman("logs", name))
    finally:
        podman("rm", "--force", "--time=0", name)
        podman("rmi", "--force", f"{name}:1")
    run.equal("arguments", at(line, "process.command_args"), ["tail", "/dev/zero"])
    run.equal("executable", at(line, "process.executable.path"), "/bin/busybox")
    run.equal("host name", at(line, "namespace.hostname"), "web-1")
    run.true("not the container's first process", (at(line, "process.vpid") or 0) > 1)
    run.true("cgroup", container in at(line, "cgroup.path"))
    run.equal("limit", at(line, "oom.memcg.limit"), MEMORY)
    # an emulated CPU takes longer to load the look-up code than a line is held back
    run.true("no addresses", at(line, "namespace.addresses") == [] or "namespace.addresses" in line["missing"])
