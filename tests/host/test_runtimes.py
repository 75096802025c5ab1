# SPDX-License-Identifier: Apache-2.0
"""Kills in containers of Debian's dockerd, containerd (through its CRI plugin) and podman: the line has their names.

`make test-runtimes` makes 20 kills of each kind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from support.runtimes import RUNTIMES, Bed, Pod, Runtime, Started, bed
from support.tracer import RunningTracer
from support.witness import KernelLog

SLOW_MACHINE = ("--timeout-factor=20",)
"""A victim's connections are read when it next runs. Twenty that share two CPUs may not run for a quarter second."""

KILLS = int(os.environ.get("OOMTRACE_RUNTIME_KILLS", "2"))
HOG = "nc 127.0.0.1 {port} -e /bin/tail /dev/zero"
"""Connects, and becomes the victim that has the connection."""

READY = "until [ -e /go ] && grep -q ':{port:04X} 0*:0000 0A' /proc/net/tcp*; do sleep 0.05; done; "
"""The listener may not listen yet when the test says go."""

SCRIPTS = {
    "a child": "(nc -l -p {port} >/dev/null &) ; " + READY + HOG + "; sleep 600",
    "PID 1": "(nc -l -p {port} >/dev/null &) ; " + READY + "exec " + HOG,
}
ADD_ADDRESS = ("ip", "address", "add", "198.51.100.7/32", "dev", "lo")
"""Loopback, because not every kernel has other devices that can be made."""

SHAPES = [
    (runtime, in_pod, who, removed)
    for runtime, in_pod, removes in (
        ("docker", False, (False, True)),
        ("docker", True, (False, True)),
        ("containerd", True, (False,)),
        ("podman", False, (False, True)),
    )
    for who in SCRIPTS
    for removed in removes
]


@dataclass(frozen=True)
class Running:
    bed: Bed
    runtime: Runtime
    tracer: RunningTracer


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    if shutil.which("mmdebstrap") is None:
        pytest.skip("mmdebstrap is not installed")
    with (
        TemporaryDirectory(prefix="oomtrace-runtimes-") as folder,
        bed(Path(folder)) as made,
        RUNTIMES[request.param](made) as runtime,
        RunningTracer(Path(folder), *SLOW_MACHINE, wrapper=made.enter) as tracer,
    ):
        yield Running(made, runtime, tracer)


def title(shape: tuple[str, bool, str, bool]) -> str:
    runtime, in_pod, who, removed = shape
    return f"{runtime}{' in a pod' if in_pod and runtime == 'docker' else ''}, {who}{', --rm' if removed else ''}"


@pytest.mark.parametrize(
    ("running", "in_pod", "who", "removed"),
    SHAPES,
    indirect=["running"],
    ids=list(map(title, SHAPES)),
    scope="module",
)
def test_every_kill_in_a_container_has_the_names_that_its_runtime_knows(running, in_pod, who, removed, validate):
    """container (id, runtime, name, image), k8s (pod, namespace, container, restart count, qos), connections."""
    started: list[tuple[Started, int]] = []
    for number in range(KILLS):
        pod = Pod(str(uuid.uuid4()), name=f"web-{number}", restarts=number % 3) if in_pod else None
        port = 20000 + len(started) + os.getpid() % 10000
        name = f"shop-{uuid.uuid4().hex[:8]}"
        started.append((running.runtime.start(name, SCRIPTS[who].format(port=port), removed=removed, pod=pod), port))
    assert_lines(running, running.tracer, started, who, validate)


@pytest.mark.parametrize("running", list(RUNTIMES), indirect=True, scope="module")
def test_a_tracer_that_is_started_after_a_container_has_its_names(running, tmp_path, validate):
    pod = Pod(str(uuid.uuid4())) if running.runtime.name == "containerd" else None
    port = 30000 + os.getpid() % 1000
    name = f"shop-{uuid.uuid4().hex[:8]}"
    # what removes the container at its end would remove what could be read after the kill
    container = running.runtime.start(name, SCRIPTS["PID 1"].format(port=port), removed=pod is None, pod=pod)
    with RunningTracer(tmp_path, *SLOW_MACHINE, wrapper=running.bed.enter) as late:
        time.sleep(2)  # it is ready as soon as kills are counted, and reads the names of what runs just after that
        assert_lines(running, late, [(container, port)], "PID 1", validate)


@pytest.mark.parametrize("running", ["docker", "podman"], indirect=True, scope="module")
def test_a_line_has_the_addresses_of_the_containers_own_network_namespace(running):
    """A tracer's first query may take longer than the half second that a line waits: then they are `missing`."""
    for _ in range(5):
        container = running.runtime.start(f"shop-{uuid.uuid4().hex[:8]}", SCRIPTS["a child"].format(port=20000))
        subprocess.run(["nsenter", f"--net={container.files / 'ns/net'}", *ADD_ADDRESS], check=True)
        container.go()
        line = running.tracer.lines_where(by_container, {container.id})[container.id]
        if "namespace.addresses" not in line["missing"]:
            break
    assert line["namespace"]["addresses"] == ["198.51.100.7"]


def assert_lines(running, tracer, started, who, validate):
    """Let these containers be killed: each line has their names and the remote end of the victim's connection."""
    log = KernelLog()

    for container, _ in started:
        container.go()
    lines = tracer.lines_where(by_container, {container.id for container, _ in started})

    missing = []
    for container, port in started:
        line = lines[container.id]
        validate(line)
        assert line["process"]["pid"] in log.kills()
        assert (line["process"]["vpid"] == 1) == (who == "PID 1")
        found, wanted = facts(line), expected(container, running.runtime.name, port)
        if found != wanted:
            missing.append((found, wanted, line))
    assert not missing, f"{len(missing)} of {len(started)}: {missing[0]}"


def by_container(line: dict[str, Any]) -> str:
    """Return the id in the victim's cgroup path: the kernel's own witness."""
    return line.get("cgroup", {}).get("path", "").rpartition("/")[2].removeprefix("libpod-")


def expected(container: Started, runtime: str, port: int) -> dict[str, Any]:
    pod = container.pod
    named = f"{pod.namespace}/{pod.name}/{pod.container}" if pod else f"container {container.name}"
    return {
        "limit_owner": "container",
        "id": container.id,
        "runtime": runtime,
        "name": container.name,
        "image": container.image,
        "k8s": (pod.uid, pod.namespace, pod.name, pod.container, pod.restarts, "burstable") if pod else None,
        "message": f" in {named} was killed: container limit of 32.0 MiB",
        "connected": ("127.0.0.1", port),
    }


def facts(line: dict[str, Any]) -> dict[str, Any]:
    container, pod = line.get("container", {}), line.get("k8s")
    remotes = [each.get("remote", {}) for each in line["process"].get("connections", [])]
    return {
        "limit_owner": line["oom"].get("limit_owner"),
        "id": container.get("id"),
        "runtime": container.get("runtime"),
        "name": container.get("name"),
        "image": container.get("image", {}).get("name"),
        "k8s": pod
        and (
            pod["pod"].get("uid"),
            pod.get("namespace", {}).get("name"),
            pod["pod"].get("name"),
            pod.get("container", {}).get("name"),
            pod.get("container", {}).get("restart_count"),
            pod.get("qos"),
        ),
        "message": line["message"][line["message"].index(" in ") :],
        "connected": next(((each["address"], each["port"]) for each in remotes if each), None),
    }
