# SPDX-License-Identifier: Apache-2.0
"""The names of containers, from files as Docker, containerd, podman, CRI-O and the kubelet write them."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.enrich.container_names import DOCKER, LOGS, MAX_FILE, POD_LOGS, STORAGE, TASKS, Names, read_names
from ooMtrace.enrich.identity import add_identity
from ooMtrace.enrich.names import MAX_CONTAINERS, NameCache, add_names
from ooMtrace.output.encode import plain

ID, OTHER = "a1" * 32, "b2" * 32
UID = "11111111-2222-3333-4444-555555555555"
DOCKER_CONFIG = {"ID": ID, "Name": "/web", "Config": {"Image": "nginx:1.27", "Labels": {"a": "b"}}}
CRI = {
    "io.kubernetes.cri.container-name": "worker",
    "io.kubernetes.cri.image-name": "registry/app:3",
    "io.kubernetes.cri.sandbox-name": "web-0",
    "io.kubernetes.cri.sandbox-namespace": "prod",
    "io.kubernetes.cri.sandbox-uid": UID,
}
IN_POD = Names(namespace="prod", pod="web-0", pod_container="worker")


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def docker(root: Path, **config: Any) -> Path:
    path = root / DOCKER / ID / "config.v2.json"
    write(path, {**DOCKER_CONFIG, **config})
    return path


def victim(path: str) -> record.OomKill:
    return replace(kill(), cgroup=record.Cgroup(path=path, version=2))


def test_docker_knows_name_and_image(tmp_path):
    docker(tmp_path)

    assert read_names(ID, tmp_path) == Names(container="web", image="nginx:1.27")


def test_cri_dockerd_labels_its_containers(tmp_path):
    labels = {
        "io.kubernetes.pod.namespace": "prod",
        "io.kubernetes.pod.name": "web-0",
        "io.kubernetes.container.name": "worker",
        "annotation.io.kubernetes.container.restartCount": "3",
    }
    docker(tmp_path, Config={"Image": "app", "Labels": labels})

    assert read_names(ID, tmp_path) == replace(IN_POD, container="web", image="app", restart_count=3)


@pytest.mark.parametrize("folder", [task for task in TASKS if task.endswith("k8s.io")])
def test_containerd_annotates_the_containers_of_pods(folder, tmp_path):
    write(tmp_path / folder / ID / "config.json", {"annotations": CRI})
    for number in (0, 3, 12):
        write(tmp_path / POD_LOGS / f"prod_web-0_{UID}" / "worker" / f"{number}.log", "")
    write(tmp_path / POD_LOGS / f"prod_web-0_{UID}" / "worker" / "12.log.20261128", "")

    assert read_names(ID, tmp_path) == replace(IN_POD, image="registry/app:3", restart_count=12)


def test_the_restart_count_is_looked_for_in_no_other_directory(tmp_path):
    write(tmp_path / TASKS[0] / ID / "config.json", {"annotations": {**CRI, "io.kubernetes.cri.container-name": ".."}})
    write(tmp_path / POD_LOGS / f"prod_web-0_{UID}" / "x", "")
    write(tmp_path / POD_LOGS / "7.log", "")

    assert read_names(ID, tmp_path).restart_count is None


def test_podman_lists_its_containers(tmp_path):
    metadata = json.dumps({"image-name": "localhost/app:latest", "name": "web"})
    listed = [{"id": OTHER, "names": ["x"]}, {"id": ID, "names": ["web", "web2"], "metadata": metadata}]
    write(tmp_path / STORAGE / "containers.json", listed)

    assert read_names(ID, tmp_path) == Names(container="web", image="localhost/app:latest")


def test_cri_o_annotates_the_containers_of_pods(tmp_path):
    annotations = {
        "io.kubernetes.pod.namespace": "prod",
        "io.kubernetes.pod.name": "web-0",
        "io.kubernetes.container.name": "worker",
    }
    write(tmp_path / STORAGE / "containers.json", [{"id": ID, "names": ["k8s_worker"], "metadata": "{}"}])
    write(tmp_path / STORAGE / ID / "userdata/config.json", {"annotations": annotations})

    assert read_names(ID, tmp_path) == replace(IN_POD, container="k8s_worker")


def test_the_link_of_a_log_names_the_pod(tmp_path):
    write(tmp_path / LOGS / f"web-0_prod_worker-{ID}.log", "")
    for number in range(20):
        write(tmp_path / LOGS / f"db-{number}_prod_worker-{OTHER}.log", "")

    assert read_names(ID, tmp_path) == IN_POD


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"Name": 7}', '{"Name": "a\\u001b[31m"}', '{"Name": ""}', '{"Config": []}', "[" * 5000],
)
def test_a_file_that_is_damaged_or_of_another_kind_gives_no_names(content, tmp_path):
    for path in (
        tmp_path / DOCKER / ID / "config.v2.json",
        tmp_path / TASKS[0] / ID / "config.json",
        tmp_path / STORAGE / "containers.json",
    ):
        write(path, content)

    assert read_names(ID, tmp_path) == Names()


def test_a_file_that_is_too_large_and_a_name_that_is_too_long_are_not_used(tmp_path):
    docker(tmp_path, Padding="x" * MAX_FILE)
    assert read_names(ID, tmp_path) == Names()

    docker(tmp_path, Name="/" + "x" * 300)
    assert read_names(ID, tmp_path) == Names(image="nginx:1.27")


def test_a_kill_has_the_names_and_its_message_leads_with_them(tmp_path):
    write(tmp_path / TASKS[0] / ID / "config.json", {"annotations": CRI})
    found = add_identity(add_names(tmp_path))(victim(f"/kubepods/burstable/pod{UID}/{ID}"))

    line = plain(found)
    assert line["k8s"] == {
        "namespace": {"name": "prod"},
        "pod": {"uid": UID, "name": "web-0"},
        "container": {"name": "worker"},
        "qos": "burstable",
    }
    assert line["container"] == {"id": ID, "image": {"name": "registry/app:3"}}
    assert " in prod/web-0/worker was killed: " in found.message


def test_a_container_that_existed_at_the_start_is_known_when_its_files_are_gone(tmp_path):
    path = docker(tmp_path)
    enrich = add_identity(add_names(tmp_path, timeout_s=10))
    path.unlink()

    found = enrich(victim(f"/docker/{ID}"))

    assert found.container == record.Container(
        id=ID, runtime="docker", name="web", image=record.Image(name="nginx:1.27")
    )


@pytest.mark.parametrize(
    "path",
    [
        f"/docker/{OTHER}/docker/{ID}",
        f"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope",
        f"/user.slice/user-1000.slice/session-3.scope/docker-{ID}",
        f"/system.slice/web.service/docker-{ID}.scope",
        f"/system.slice/web.service/docker-{ID}.scope/a.service",
        f"/../docker-{ID}.scope",
    ],
)
def test_an_id_that_a_user_or_a_container_may_have_made_up_gets_no_name(path, tmp_path):
    docker(tmp_path)
    found = add_identity(add_names(tmp_path))(victim(path))

    assert found.container is not None
    assert (found.container.id, found.container.name, found.container.image) == (ID, None, None)


@pytest.mark.parametrize(
    "path",
    [
        f"/docker/{ID}",
        f"/system.slice/docker-{ID}.scope",
        f"/system.slice/docker-{ID}.scope/nested",
        f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/docker-{ID}.scope",
        f"/system.slice/containerd.service/kubepods-pod{UID.replace('-', '_')}.slice:cri-containerd:{ID}",
        f"/system.slice/k3s.service/kubepods-pod{UID.replace('-', '_')}.slice:cri-containerd:{ID}",
    ],
)
def test_an_id_from_the_hosts_own_runtime_gets_its_name(path, tmp_path):
    docker(tmp_path)
    found = add_identity(add_names(tmp_path))(victim(path))

    assert found.container is not None
    assert found.container.name == "web"


def test_a_file_that_hangs_delays_a_kill_by_no_more_than_the_timeout(tmp_path):
    path = docker(tmp_path)
    path.unlink()
    os.mkfifo(path)
    begin = time.monotonic()
    names = NameCache(tmp_path, timeout_s=0.05)

    assert [names.find(id_) for id_ in (ID, ID, OTHER)] == [Names()] * 3
    assert time.monotonic() - begin < 1
    os.close(os.open(path, os.O_RDWR))  # ends the thread


def test_the_cache_keeps_a_bounded_number_of_containers(tmp_path):
    for number in range(MAX_CONTAINERS + 5):
        write(tmp_path / DOCKER / f"{number:064x}" / "config.v2.json", DOCKER_CONFIG)
    names = NameCache(tmp_path, timeout_s=60)
    names.fill()

    assert len(names._names) == MAX_CONTAINERS
