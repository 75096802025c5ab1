# SPDX-License-Identifier: Apache-2.0
"""A process in a podman container passes its limit; the container's first process lives on."""

import io
import subprocess
import tarfile
import uuid
from pathlib import Path

from _checks import at
from _stage import stage

BUSYBOX = Path("/bin/busybox")
PODMAN = ("podman", "--cgroup-manager=cgroupfs", "--events-backend=file")
MEMORY = 64 << 20


def podman(*arguments: str, **more: object) -> str:
    done = subprocess.run([*PODMAN, *arguments], check=True, stdout=subprocess.PIPE, **more)  # type: ignore[call-overload]
    return str(done.stdout.decode().strip())


def image() -> bytes:
    """A root file system of one program."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
        for name in ("sh", "tail"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return packed.getvalue()


with stage() as on:
    name = f"oomtrace-{uuid.uuid4().hex[:8]}"
    podman("import", "--quiet", "-", f"{name}:1", input=image())
    limits = (f"--memory={MEMORY}", f"--memory-swap={MEMORY}")
    shell = "tail /dev/zero; echo status $?; exec tail -f /dev/null"
    container = podman(
        *("run", "--detach", "--rm", "--network=none", "--hostname=web-1", f"--name={name}", *limits),
        *(f"{name}:1", "/bin/sh", "-c", shell),
    )
    try:
        found = on.full.wait(lambda kills: len(kills) > 0)
        (line,) = on.kills([found[0]["process"]["pid"]] if found else [0])
        on.equal("the container lives on", podman("inspect", "--format={{.State.Running}}", name), "true")
        on.true("status of the dead", "status 137" in podman("logs", name))
    finally:
        podman("rm", "--force", "--time=0", name)
        podman("rmi", "--force", f"{name}:1")
    on.equal("arguments", at(line, "process.command_args"), ["tail", "/dev/zero"])
    on.equal("executable", at(line, "process.executable.path"), "/bin/busybox")
    on.equal("host name", at(line, "namespace.hostname"), "web-1")
    on.true("it was not the first in there", (at(line, "process.vpid") or 0) > 1)
    on.true("cgroup", container in at(line, "cgroup.path"))
    on.equal("limit", at(line, "oom.memcg.limit"), MEMORY)
    # an emulated CPU takes longer to load what looks them up than a line waits
    on.true("no addresses", at(line, "namespace.addresses") == [] or "namespace.addresses" in line["missing"])
