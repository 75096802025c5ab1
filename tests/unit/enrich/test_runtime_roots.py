# SPDX-License-Identifier: Apache-2.0
"""The directories of container runtimes: the usual ones, and those that the runtimes' configuration names."""

from __future__ import annotations

from pathlib import Path

import pytest

from ooMtrace.enrich.runtime_roots import find_runtime_roots

TASK = "io.containerd.runtime.v2.task"


def write(root: Path, path: str, content: str | bytes) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_without_configuration_the_directories_are_those_of_packages(tmp_path):
    roots = find_runtime_roots(tmp_path)

    assert roots.docker[0] == tmp_path / "var/lib/docker/containers"
    assert [path.parts[-6:-2] for path in roots.tasks[:1]] == [(*tmp_path.parts[-2:], "run", "containerd")]
    assert roots.tasks[:2] == tuple(tmp_path / "run/containerd" / TASK / name for name in ("k8s.io", "default"))
    assert tmp_path / "run/k3s/containerd" / TASK / "k8s.io" in roots.tasks
    assert roots.storage[0] == tmp_path / "var/lib/containers/storage/overlay-containers"


def test_configured_directories_come_first(tmp_path):
    write(tmp_path, "etc/docker/daemon.json", '{"log-driver": "journald", "data-root": "/data/docker"}')
    write(
        tmp_path, "etc/containerd/config.toml", 'version = 2\nstate = "/data/run"  # fast\n[plugins.a]\nstate = "/no"\n'
    )
    write(tmp_path, "etc/containers/storage.conf", "[storage]\ndriver = 'overlay'\ngraphroot = '/data/graph'\n")
    roots = find_runtime_roots(tmp_path)

    assert roots.docker[0] == tmp_path / "data/docker/containers"
    assert roots.tasks[0] == tmp_path / "data/run" / TASK / "k8s.io"
    assert roots.storage[:2] == tuple(tmp_path / "data/graph" / f"{driver}-containers" for driver in ("overlay", "vfs"))
    assert not [path for path in roots.tasks if "no" in path.parts]


def test_a_docker_daemon_with_user_namespaces_has_a_directory_in_its_data_directory(tmp_path):
    (tmp_path / "var/lib/docker/165536.165536/containers").mkdir(parents=True)
    (tmp_path / "var/lib/docker/overlay2").mkdir()

    assert find_runtime_roots(tmp_path).docker[-1] == tmp_path / "var/lib/docker/165536.165536/containers"


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "null", '{"data-root": 7}', '{"data-root": "data"}', '{"data-root": "/a\\u0000b"}'),
        *("state = 7", 'state = "run"', 'state = "/a', "[storage]\ngraphroot = ''", "state = '/a\x1b'", "[" * 5000),
        b"\xff\xfe" * 100,
        '{"data-root": "/' + "x" * 300 + '"}',
        " " * 70_000 + '{"data-root": "/late"}',
    ],
)
def test_a_configuration_that_is_damaged_or_names_no_directory_is_ignored(content, tmp_path):
    expected = find_runtime_roots(tmp_path)
    for path in ("etc/docker/daemon.json", "etc/containerd/config.toml", "etc/containers/storage.conf"):
        write(tmp_path, path, content)

    assert find_runtime_roots(tmp_path) == expected


def test_a_configuration_that_may_not_be_read_is_ignored(tmp_path):
    (tmp_path / "etc/docker/daemon.json").mkdir(parents=True)
    (tmp_path / "etc/containerd").mkdir()
    (tmp_path / "etc/containerd/config.toml").symlink_to("config.toml")

    assert find_runtime_roots(tmp_path).docker[0] == tmp_path / "var/lib/docker/containers"
