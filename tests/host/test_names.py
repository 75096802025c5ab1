# SPDX-License-Identifier: Apache-2.0
"""Names of a container whose files are gone when one of its processes is killed: they were read when it appeared."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from host.test_identity import LIMIT, cgroups

ID = f"{os.getpid():08x}{'c3' * 28}"
UID = f"{os.getpid():08x}-3333-4444-5555-666666666666"
DOCKER = Path("/var/lib/docker/containers") / ID
TASK = Path("/run/containerd/io.containerd.runtime.v2.task/k8s.io") / ID
CONFIG = {
    "Name": "/oomtrace-test",
    "Config": {
        "Image": "nginx:1.27",
        "Labels": {"com.docker.compose.project": "shop", "com.docker.compose.service": "web", "other": "x"},
    },
}
ANNOTATIONS = {
    "io.kubernetes.cri.container-name": "worker",
    "io.kubernetes.cri.image-name": "registry/app:3",
    "io.kubernetes.cri.sandbox-name": "web-0",
    "io.kubernetes.cri.sandbox-namespace": "prod",
    "io.kubernetes.cri.sandbox-uid": UID,
}
READ_S = 1.0
"""Reading takes less than a millisecond."""


@contextmanager
def runtime_file(path: Path, content: dict[str, Any]) -> Iterator[None]:
    """Write a file of a runtime as if it were installed; remove it and the directories that were made for it."""
    made = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    try:
        yield
    finally:
        shutil.rmtree(path.parent, ignore_errors=True)
        for parent in made[1:]:
            with suppress(OSError):  # a runtime that was started meanwhile uses it, or has removed it
                parent.rmdir()


@pytest.mark.parametrize("delay", [0, 0.2], ids=["written before the cgroup is made", "written after it"])
def test_the_names_of_a_container_are_in_the_line_although_its_files_are_gone(delay, tracer, victim, validate):
    """container (name, image, labels) of Docker."""
    path = DOCKER / "config.v2.json"
    if delay:
        with cgroups(f"/docker/{ID}") as made:
            time.sleep(delay)
            with runtime_file(path, CONFIG):
                time.sleep(READ_S)
            dead = kill(victim, made[f"/docker/{ID}"])
    else:
        with runtime_file(path, CONFIG), cgroups(f"/docker/{ID}") as made:
            time.sleep(READ_S)
            shutil.rmtree(path.parent)
            dead = kill(victim, made[f"/docker/{ID}"])

    (line,) = tracer.lines_of([dead.pid])

    validate(line)
    assert line["container"] == {
        "id": ID,
        "runtime": "docker",
        "name": "oomtrace-test",
        "image": {"name": "nginx:1.27"},
        "labels": {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"},
    }
    assert "in container oomtrace-test was killed" in line["message"]


def test_the_names_of_a_pod_are_in_the_line_although_the_task_of_containerd_is_gone(tracer, victim, validate):
    """k8s (namespace, pod, container) and container (runtime, image) of containerd."""
    cgroup = f"/kubepods/burstable/pod{UID}/{ID}"
    with runtime_file(TASK / "config.json", {"annotations": ANNOTATIONS}), cgroups(cgroup) as made:
        time.sleep(READ_S)
        shutil.rmtree(TASK)
        dead = kill(victim, made[cgroup])

    (line,) = tracer.lines_of([dead.pid])

    validate(line)
    assert line["container"] == {"id": ID, "runtime": "containerd", "image": {"name": "registry/app:3"}}
    assert line["k8s"] == {
        "namespace": {"name": "prod"},
        "pod": {"uid": UID, "name": "web-0"},
        "container": {"name": "worker"},
        "qos": "burstable",
        "oom_score_adj": {"min": 2, "max": 999, "matches": False},
        "workload": {"kind": "StatefulSet", "name": "web"},
    }
    assert " in prod/web-0/worker was killed: " in line["message"]


def kill(victim, cgroup):
    cgroup.limit(LIMIT)
    dead = victim("hog", cgroup).go()
    assert dead.end() == -signal.SIGKILL
    return dead
