# SPDX-License-Identifier: Apache-2.0
"""Containers of podman with its systemd cgroup manager, which exceed their limits."""

from __future__ import annotations

import subprocess
import uuid

from _busybox import image
from _scenario import Scenario
from _tolerances import at
from _units import USER, Facts, as_user, check_systemd, killed_below, user_name
from support.tracer import Line

MEMORY = 48 << 20
CHILD = "tail /dev/zero; echo status $?; exec tail -f /dev/null"


class Podman:
    """The podman of root, or of the user."""

    def __init__(self, *, rootless: bool) -> None:
        self.rootless = rootless

    def __call__(self, *arguments: str, stdin: bytes | None = None) -> str:
        command = ["podman", "--cgroup-manager=systemd", "--events-backend=file", "--runtime=crun", *arguments]
        done = subprocess.run(
            as_user(*command) if self.rootless else command, check=True, stdout=subprocess.PIPE, input=stdin
        )
        return done.stdout.decode().strip()

    def run(self, name: str, image_name: str, *command: str) -> str:
        """Start a container with a limit, and return its id."""
        limits = (f"--memory={MEMORY}", f"--memory-swap={MEMORY}")
        return self(
            *("run", "--detach", "--network=none", "--hostname=web-1", f"--name={name}", *limits, image_name, *command)
        )


def check(run: Scenario, *, rootless: bool = False) -> None:
    """Let a child in one container be killed, and the first process of another; check both lines."""
    podman = Podman(rootless=rootless)
    name = f"oomtrace-{uuid.uuid4().hex[:8]}"
    used = f"localhost/{name}:1"
    names = (f"{name}-child", f"{name}-first")
    podman("import", "--quiet", "-", used, stdin=image())
    try:
        ids = [
            podman.run(names[0], used, "/bin/sh", "-c", CHILD),
            podman.run(names[1], used, "/bin/tail", "/dev/zero"),
        ]
        pids = [killed_below(run, f"{parent(rootless)}/libpod-{each}.scope")[0] for each in ids]
        lines = run.kills(pids)
        run.equal("the first container runs", podman("inspect", "--format={{.State.Running}}", names[0]), "true")
        run.true("status of the child", "status 137" in podman("logs", names[0]))
        run.equal("status of the other container", podman("wait", names[1]), "137")
    finally:
        podman("rm", "--force", "--time=0", *names)
        podman("rmi", "--force", used)
    for container, label, line in zip(ids, names, lines, strict=False):
        _check_line(run, line, container, rootless=rootless)
        # a user could make them up; and an emulated CPU may take longer to read them than a line is held back
        names_found = (at(line, "container.name"), at(line, "container.image.name"))
        run.true(f"name and image {names_found}", names_found in ((None, None), *([] if rootless else [(label, used)])))
    run.equal("first process or not", [at(line, "process.vpid") == 1 for line in lines], [False, True])


def parent(rootless: bool) -> str:
    """Return the cgroup of the slice in which the containers' scopes are."""
    return f"/user.slice/user-{USER}.slice/user@{USER}.service/user.slice" if rootless else "/machine.slice"


def _check_line(run: Scenario, line: Line, container: str, *, rootless: bool) -> None:
    scope = f"libpod-{container}.scope"
    run.equal("path", at(line, "cgroup.path"), f"{parent(rootless)}/{scope}/container")
    run.equal("id and runtime", (at(line, "container.id"), at(line, "container.runtime")), (container, "podman"))
    where: Facts = {"unit": scope, "slice": "user.slice" if rootless else "machine.slice"}
    where |= {"manager": "user", "user": USER} if rootless else {"manager": "system"}
    check_systemd(run, line, where, "container")
    run.equal("limit", at(line, "oom.memcg.limit"), MEMORY)
    run.equal("host name", at(line, "namespace.hostname"), "web-1")
    owner = {"id": USER, "name": user_name()} if rootless else {"id": 0, "name": "root"}
    run.equal("user", at(line, "process.user"), owner)
