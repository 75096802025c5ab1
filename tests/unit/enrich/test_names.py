# SPDX-License-Identifier: Apache-2.0
"""The names of containers, from files as Docker, containerd, podman, CRI-O and the kubelet write them."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.clock import FakeClock
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.enrich import container_names
from ooMtrace.enrich.container_names import LOGS, MAX_FILE, POD_LOGS, Names, RuntimeFiles, read_names
from ooMtrace.enrich.identity import add_identity
from ooMtrace.enrich.name_cache import GRACE_NS
from ooMtrace.enrich.name_reader import MAX_QUEUED
from ooMtrace.enrich.names import RETRY_NS, TIMEOUT_S, ContainerNames
from ooMtrace.kernel.cgroup_change import CgroupChange
from ooMtrace.output.encode import encode, plain

LONG_S = 30
ID, OTHER = "a1" * 32, "b2" * 32
DOCKER = "var/lib/docker/containers"
TASKS = tuple(
    f"{state}/io.containerd.runtime.v2.task/k8s.io"
    for state in (
        "run/containerd",
        "run/k3s/containerd",
        "run/k0s/containerd",
        "var/snap/microk8s/common/run/containerd",
    )
)
STORAGE = "var/lib/containers/storage/overlay-containers"
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

    assert read_names(ID, tmp_path) == Names(runtime="docker", container="web", image="nginx:1.27")


def test_cri_dockerd_labels_its_containers(tmp_path):
    labels = {
        "io.kubernetes.pod.namespace": "prod",
        "io.kubernetes.pod.name": "web-0",
        "io.kubernetes.container.name": "worker",
        "annotation.io.kubernetes.container.restartCount": "3",
    }
    docker(tmp_path, Config={"Image": "app", "Labels": labels})

    assert read_names(ID, tmp_path) == replace(IN_POD, runtime="docker", container="web", image="app", restart_count=3)


@pytest.mark.parametrize("folder", TASKS)
def test_containerd_annotates_the_containers_of_pods(folder, tmp_path):
    write(tmp_path / folder / ID / "config.json", {"annotations": CRI})
    for number in (0, 3, 12):
        write(tmp_path / POD_LOGS / f"prod_web-0_{UID}" / "worker" / f"{number}.log", "")
    write(tmp_path / POD_LOGS / f"prod_web-0_{UID}" / "worker" / "12.log.20261128", "")

    assert read_names(ID, tmp_path) == replace(IN_POD, runtime="containerd", image="registry/app:3", restart_count=12)


def test_the_restart_count_is_looked_for_in_no_other_directory(tmp_path):
    write(tmp_path / TASKS[0] / ID / "config.json", {"annotations": {**CRI, "io.kubernetes.cri.container-name": ".."}})
    write(tmp_path / POD_LOGS / f"prod_web-0_{UID}" / "x", "")
    write(tmp_path / POD_LOGS / "7.log", "")

    assert read_names(ID, tmp_path).restart_count is None


def test_podman_lists_its_containers(tmp_path):
    metadata = json.dumps({"image-name": "localhost/app:latest", "name": "web"})
    listed = [{"id": OTHER, "names": ["x"]}, {"id": ID, "names": ["web", "web2"], "metadata": metadata}]
    write(tmp_path / STORAGE / "containers.json", listed)

    assert read_names(ID, tmp_path) == Names(runtime="podman", container="web", image="localhost/app:latest")


def test_cri_o_annotates_the_containers_of_pods(tmp_path):
    annotations = {
        "io.kubernetes.pod.namespace": "prod",
        "io.kubernetes.pod.name": "web-0",
        "io.kubernetes.container.name": "worker",
    }
    write(tmp_path / STORAGE / "containers.json", [{"id": ID, "names": ["k8s_worker"], "metadata": "{}"}])
    write(tmp_path / STORAGE / ID / "userdata/config.json", {"annotations": annotations})

    assert read_names(ID, tmp_path) == replace(IN_POD, runtime="cri-o", container="k8s_worker")


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

    assert not read_names(ID, tmp_path).is_known()


def test_a_file_that_is_too_large_and_a_name_that_is_too_long_are_not_used(tmp_path):
    docker(tmp_path, Padding="x" * MAX_FILE)
    assert read_names(ID, tmp_path) == Names()

    docker(tmp_path, Name="/" + "x" * 300)
    assert read_names(ID, tmp_path) == Names(runtime="docker", image="nginx:1.27")


def test_a_kill_has_the_names_and_its_message_leads_with_them(tmp_path):
    write(tmp_path / TASKS[0] / ID / "config.json", {"annotations": CRI})
    found = add_identity(ContainerNames(tmp_path))(victim(f"/kubepods/burstable/pod{UID}/{ID}"))

    line = plain(found)
    assert line["k8s"] == {
        "namespace": {"name": "prod"},
        "pod": {"uid": UID, "name": "web-0"},
        "container": {"name": "worker"},
        "qos": "burstable",
    }
    assert line["container"] == {"id": ID, "runtime": "containerd", "image": {"name": "registry/app:3"}}
    assert " in prod/web-0/worker was killed: " in found.message


def test_a_container_that_existed_at_the_start_is_known_when_its_files_are_gone(tmp_path):
    path = docker(tmp_path)
    enrich = add_identity(ContainerNames(tmp_path, timeout_s=10))
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
    found = add_identity(ContainerNames(tmp_path))(victim(path))

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
    found = add_identity(ContainerNames(tmp_path))(victim(path))

    assert found.container is not None
    assert found.container.name == "web"


def change(path: str, *, removed: bool = False) -> CgroupChange:
    return CgroupChange(0, path, removed)


def names_of(enrich: ContainerNames, path: str) -> tuple[str | None, str | None]:
    """Return runtime and name of the container of a victim in this cgroup."""
    found = add_identity(enrich)(victim(path)).container
    assert found is not None
    return found.runtime, found.name


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def is_read(enrich: ContainerNames) -> bool:
    return enrich._reader._thread is None


PATH = f"/docker/{ID}"


def test_a_container_is_known_when_its_files_are_gone_at_the_kill(tmp_path):
    enrich = ContainerNames(tmp_path, timeout_s=LONG_S)
    path = docker(tmp_path)
    enrich.observe(change(PATH))
    wait_until(lambda: is_read(enrich))
    path.unlink()

    assert names_of(enrich, PATH) == ("docker", "web")


@pytest.mark.parametrize("retries", [1, 2, 3])
def test_a_file_that_is_written_after_the_cgroup_was_made_is_found_at_a_later_look(retries, tmp_path):
    clock = FakeClock()
    enrich = ContainerNames(tmp_path, timeout_s=LONG_S, clock=clock)
    enrich.observe(change(PATH))
    for retry in range(retries):
        wait_until(lambda: is_read(enrich))
        if retry == retries - 1:
            path = docker(tmp_path)
        due = enrich.next_due()
        assert due == clock.monotonic_ns() + RETRY_NS[retry]
        clock.monotonic = due
        enrich.look_again()
    wait_until(lambda: is_read(enrich))
    path.unlink()

    assert names_of(enrich, PATH) == ("docker", "web")
    if retries < len(RETRY_NS):  # one more, which finds that there is nothing to do
        clock.monotonic = enrich.next_due()
        enrich.look_again()
    assert enrich.next_due() is None


def test_a_container_without_files_is_looked_for_a_few_times_and_then_no_more(tmp_path):
    clock = FakeClock()
    enrich = ContainerNames(tmp_path, timeout_s=LONG_S, clock=clock)
    begin = clock.monotonic_ns()
    enrich.observe(change(PATH))
    times = []
    while (due := enrich.next_due()) is not None:
        times.append(due - begin)
        clock.monotonic = due
        enrich.look_again()

    assert times == [50_000_000, 550_000_000, 3_550_000_000]


def test_nothing_is_due_before_the_first_container(tmp_path):
    enrich = ContainerNames(tmp_path)
    enrich.observe(change("/system.slice/ssh.service"))
    enrich.observe(change(PATH, removed=True))

    assert enrich.next_due() is None


def test_names_are_kept_for_a_minute_after_the_cgroup_was_removed(tmp_path):
    clock = FakeClock()
    enrich = ContainerNames(tmp_path, timeout_s=LONG_S, clock=clock)
    path = docker(tmp_path)
    enrich.observe(change(PATH))
    wait_until(lambda: is_read(enrich))
    path.unlink()
    enrich.observe(change(PATH, removed=True))
    assert names_of(enrich, PATH) == ("docker", "web")

    clock.monotonic += GRACE_NS
    docker(tmp_path, ID=OTHER)
    enrich.observe(change(f"/docker/{OTHER}"))
    path.rename(tmp_path / "gone")
    write(tmp_path / DOCKER / OTHER / "config.v2.json", DOCKER_CONFIG)
    wait_until(lambda: is_read(enrich))
    names_of(enrich, f"/docker/{OTHER}")
    assert names_of(enrich, PATH) == ("docker", None)


@pytest.mark.parametrize(
    "path",
    [
        f"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope",
        f"/system.slice/web.service/docker-{ID}.scope",
        f"/docker/{OTHER}/docker/{ID}",
        f"/machine.slice/machine-lxc.scope/lxc.payload.web/docker/{ID}",
        f"/docker/{ID}/{'x' * 64}",
        f"/docker/{ID}/init",
        f"/docker/{ID}.mount",
        "/" + "x" * 64,
        "/" + "\\xff" * 100,
        "",
        "/",
    ],
)
def test_nothing_is_read_for_a_name_that_others_than_the_hosts_runtime_may_have_chosen(path, tmp_path):
    enrich = ContainerNames(tmp_path)
    docker(tmp_path)
    enrich.observe(change(path))
    enrich.observe(change(path, removed=True))

    assert enrich.next_due() is None
    assert is_read(enrich)
    assert not enrich._reader.has(ID)


def test_a_flood_of_100000_containers_takes_a_bounded_amount_of_memory(tmp_path):
    enrich = ContainerNames(tmp_path, clock=FakeClock())
    for number in range(99_000):
        enrich.observe(change(f"/docker/{number:064x}"))
    tracemalloc.start()  # which makes all ten times as slow
    for number in range(99_000, 100_000):
        enrich.observe(change(f"/docker/{number:064x}"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(enrich._retries) == MAX_QUEUED
    assert len(enrich._reader._queue) <= MAX_QUEUED
    assert peak < 2 << 20
    wait_until(lambda: is_read(enrich))


def test_the_runtime_of_a_bare_id_is_that_whose_file_was_found(tmp_path):
    docker(tmp_path)
    enrich = ContainerNames(tmp_path, timeout_s=LONG_S)

    assert names_of(enrich, f"/batch/{ID}") == ("docker", "web")
    assert names_of(enrich, f"/libpod_parent/libpod-{ID}") == ("podman", "web")


def test_labels_are_in_the_line_and_a_secret_in_one_is_listed_as_redacted(tmp_path):
    labels = {"com.docker.compose.project": "--password=hunter2", "com.docker.compose.service": "web", "x": "y"}
    docker(tmp_path, Config={"Labels": labels})
    found = add_identity(ContainerNames(tmp_path, timeout_s=LONG_S))(victim(PATH))

    line = plain(found)
    assert line["container"]["labels"]["com.docker.compose.service"] == "web"
    assert "x" not in line["container"]["labels"]
    assert "hunter2" not in encode(found).decode()
    assert line["redacted"][-1] == "container.labels"


def test_the_sandbox_of_a_pod_is_in_the_line(tmp_path):
    write(tmp_path / TASKS[0] / ID / "config.json", {"annotations": {**CRI, "io.kubernetes.cri.sandbox-id": OTHER}})
    found = add_identity(ContainerNames(tmp_path, timeout_s=LONG_S))(victim(f"/kubepods/pod{UID}/{ID}"))

    assert found.container is not None
    assert found.container.pod == OTHER


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_podman_lists_containers_that_it_removes_at_their_end_apart(driver, tmp_path):
    folder = tmp_path / f"var/lib/containers/storage/{driver}-containers"
    write(folder / "containers.json", [{"id": OTHER, "names": ["db"]}])
    write(folder / "volatile-containers.json", [{"id": ID, "names": ["web"]}])

    assert [read_names(id_, tmp_path).container for id_ in (ID, OTHER)] == ["web", "db"]


def test_nerdctl_annotates_its_containers(tmp_path):
    annotations = {"nerdctl/name": "web", "com.docker.compose.project": "shop"}
    write(
        tmp_path / "run/containerd/io.containerd.runtime.v2.task/default" / ID / "config.json",
        {"annotations": annotations},
    )

    assert read_names(ID, tmp_path) == Names(
        runtime="containerd", container="web", labels={"com.docker.compose.project": "shop"}
    )


def test_a_list_of_many_containers_is_read_once_for_all_until_it_changes(tmp_path, monkeypatch):
    path = tmp_path / STORAGE / "containers.json"
    write(path, [{"id": f"{number:064x}", "names": [f"c{number}"]} for number in range(1000)])
    files = RuntimeFiles(tmp_path)
    reads: list[str] = []
    load = container_names._load

    def noted(path: Path) -> Any:
        reads.append(path.name)
        return load(path)

    monkeypatch.setattr(container_names, "_load", noted)

    assert [files.read_names(f"{number:064x}").container for number in range(1000)][999] == "c999"
    assert reads.count("containers.json") == 1
    write(path, [{"id": ID, "names": ["new"]}])
    assert files.read_names(ID).container == "new"


def test_the_files_of_500_stopped_containers_do_not_delay_the_start(tmp_path):
    for number in range(500):
        write(tmp_path / DOCKER / f"{number:064x}" / "config.v2.json", DOCKER_CONFIG)
    begin = time.monotonic()
    enrich = ContainerNames(tmp_path)

    assert time.monotonic() - begin < 10 * TIMEOUT_S
    wait_until(lambda: is_read(enrich))
    assert enrich._reader.has(f"{499:064x}")
