# SPDX-License-Identifier: Apache-2.0
"""Where a process runs, found from files only, and the remedies that fit there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.plan_features import GRANT

from ooMtrace.kernel import remedies
from ooMtrace.kernel.surroundings import ALL_CAPABILITIES, Surroundings, observe_surroundings

DISK = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
IMAGE = "600 500 0:50 / / rw,relatime - overlay overlay rw\n"
SUBDIRECTORY = "600 500 254:0 /var/lib/docker/vfs/dir/1 / rw,relatime - ext4 /dev/vda rw\n"
STATUS = "Name:\tx\nCapBnd:\t000001c0a8000000\nSeccomp:\t2\n"


def put(root: Path, path: str, text: str = "") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def observe(root: Path) -> Surroundings:
    return observe_surroundings(root, root / "proc", root / "sys")


@pytest.mark.parametrize(
    ("marker", "text", "mountinfo", "container"),
    [
        (".dockerenv", "", IMAGE, "docker"),
        (".dockerenv", "", SUBDIRECTORY, "docker"),
        (".dockerenv", "", DISK, ""),
        ("run/.containerenv", "engine=x", IMAGE, "podman"),
        ("etc/hosts", "192.0.2.2\thost.containers.internal\n", IMAGE, "podman"),
        ("etc/hosts", "192.0.2.2\thost.containers.internal\n", DISK, ""),
        ("run/systemd/container", "lxc", IMAGE, "other"),
        ("etc/hosts", "# Kubernetes-managed hosts file.\n127.0.0.1 localhost\n", IMAGE, "kubernetes"),
        ("etc/hosts", "# Kubernetes-managed hosts file (host network).\n", SUBDIRECTORY, "kubernetes"),
        ("etc/hosts", "127.0.0.1 localhost\n", IMAGE, ""),
        ("other", "", IMAGE, ""),
    ],
)
def test_a_container_is_known_by_what_its_runtime_puts_into_it(tmp_path, marker, text, mountinfo, container):
    put(tmp_path, marker, text)
    put(tmp_path, "proc/self/mountinfo", f"22 27 0:21 / /proc rw - proc proc rw\n{mountinfo}")

    assert observe(tmp_path).container == container


@pytest.mark.parametrize(
    ("environment", "container"),
    [
        (b"PATH=/bin\0KUBERNETES_SERVICE_HOST=10.0.0.1\0", "kubernetes"),
        (b"container=podman\0", "podman"),
        (b"container=lxc\0", "other"),
        (b"MY_container=podman\0", ""),
    ],
)
def test_a_container_is_known_by_the_variables_that_it_was_started_with(tmp_path, environment, container):
    put(tmp_path, "proc/self/environ", environment.decode())

    assert observe(tmp_path).container == container


def test_limits_are_read(tmp_path):
    put(tmp_path, "proc/self/status", STATUS)
    put(tmp_path, "proc/sys/kernel/cap_last_cap", "37\n")
    put(tmp_path, "proc/sys/kernel/perf_event_paranoid", "3\n")
    (tmp_path / "proc/self/ns").mkdir()
    (tmp_path / "proc/self/ns/user").symlink_to("user:[4026532000]")
    (tmp_path / "sys/kernel").mkdir(parents=True)

    assert observe(tmp_path) == Surroundings(os.geteuid(), "", False, True, 0x1C0A8000000, 37, True, 3)


def test_what_cannot_be_read_counts_as_on_an_ordinary_host(tmp_path):
    (tmp_path / "proc/self/status").mkdir(parents=True)
    os.mkfifo(tmp_path / "proc/self/mountinfo")

    assert observe(tmp_path) == Surroundings(os.geteuid(), sysfs=False)
    assert Surroundings().bounding == ALL_CAPABILITIES


def test_a_host_that_withholds_nothing_is_as_one_that_states_nothing(tmp_path):
    put(tmp_path, "proc/self/status", "CapBnd:\t000001ffffffffff\nSeccomp:\t0\n")
    put(tmp_path, "proc/sys/kernel/cap_last_cap", "40\n")
    (tmp_path / "sys/kernel").mkdir(parents=True)

    assert observe(tmp_path) == Surroundings(os.geteuid())


@pytest.mark.parametrize(("size", "container"), [((256 << 10) - 32, "kubernetes"), (256 << 10, "")])
def test_at_most_256_kib_of_a_file_are_read(tmp_path, size, container):
    put(tmp_path, "proc/self/environ", "x" * size + "\0KUBERNETES_SERVICE_HOST=x\0")

    assert observe(tmp_path).container == container


def test_no_file_stays_open(tmp_path):
    put(tmp_path, "proc/self/status", STATUS)
    (tmp_path / "proc/self/environ").mkdir()
    before = len([*Path("/proc/self/fd").iterdir()])
    observe(tmp_path)

    assert len([*Path("/proc/self/fd").iterdir()]) == before


KUBERNETES, DOCKER, PODMAN, OTHER = (
    Surroundings(container=name) for name in ("kubernetes", "docker", "podman", "other")
)
PLACES = (KUBERNETES, DOCKER, PODMAN, OTHER, Surroundings(), Surroundings(1000))


@pytest.mark.parametrize(
    ("where", "held", "hint"),
    [
        (KUBERNETES, 0, "set capabilities.add: [BPF, PERFMON] in the container's securityContext"),
        (
            Surroundings(1000, "kubernetes"),
            0,
            "set runAsUser: 0 and capabilities.add: [BPF, PERFMON] in the container's securityContext",
        ),
        (DOCKER, 0, "start the container with --cap-add=BPF --cap-add=PERFMON"),
        (Surroundings(1000, "podman"), 0, "start the container with --user=0 --cap-add=BPF --cap-add=PERFMON"),
        (Surroundings(), 0, GRANT),
        (Surroundings(1000), 0, "run as root: sudo oomtrace"),
        (
            Surroundings(1000),
            1 << 34,
            "grant CAP_BPF and CAP_PERFMON, too: AmbientCapabilities= of a systemd unit, --ambient-caps of setpriv",
        ),
        (Surroundings(host_users=False), 0, "leave the user namespace, and run as root: sudo oomtrace"),
        (Surroundings(container="kubernetes", host_users=False), 0, "set hostUsers: true in the pod's spec"),
        (Surroundings(container="podman", host_users=False), 0, "start the container as root: sudo podman run"),
        (
            Surroundings(container="docker", host_users=False),
            0,
            "start the container with --userns=host, by a Docker that runs as root",
        ),
    ],
)
def test_capabilities_are_granted_where_the_process_was_started(where, held, hint):
    assert remedies.grant(where, held, "BPF", "PERFMON") == hint


def test_a_kernel_without_cap_bpf_is_asked_for_the_capability_that_it_had_been_part_of():
    assert remedies.bpf_capabilities(Surroundings(last_capability=37), ("BPF", "PERFMON")) == ("SYS_ADMIN",)
    assert remedies.bpf_capabilities(Surroundings(last_capability=39), ("PERFMON",)) == ("PERFMON",)


@pytest.mark.parametrize(
    ("where", "allowed", "hint"),
    [
        (KUBERNETES, True, "set priorityClassName: system-node-critical in the pod's spec"),
        (DOCKER, False, "start the container with --oom-score-adj=-1000"),
        (Surroundings(), True, "set OOMScoreAdjust=-1000 in its unit, or run: choom -n -1000 -p 7"),
        (Surroundings(1000), True, "set OOMScoreAdjust=-1000 in its unit, or run: sudo choom -n -1000 -p 7"),
        (Surroundings(), False, "CAP_SYS_RESOURCE is withheld here: start it from systemd with OOMScoreAdjust=-1000"),
        (
            Surroundings(host_users=False),
            True,
            "CAP_SYS_RESOURCE is withheld here: start it from systemd with OOMScoreAdjust=-1000",
        ),
    ],
)
def test_choom_is_suggested_only_where_it_can_work(where, allowed, hint):
    assert remedies.lower_oom_score(where, -1000, 7, allowed=allowed) == hint


WITH = "start the container with "


@pytest.mark.parametrize(
    ("where", "hints"),
    [
        (
            KUBERNETES,
            [
                "set securityContext.seccompProfile.type: Unconfined in the container's spec",
                "share the host's: set hostPID: true in the pod's spec",
                "mount the host's into the container: hostPath /x, readOnly",
                "",
                "",
            ],
        ),
        *(
            (
                engine,
                [
                    f"{WITH}--security-opt seccomp=unconfined",
                    f"share the host's: {WITH}--pid=host",
                    f"{WITH}--volume=/x:/x:ro",
                    f"{WITH}--device=/dev/kmsg:/dev/kmsg:r",
                    f"{WITH}--device=/dev/kmsg:/dev/kmsg:r",
                ],
            )
            for engine in (DOCKER, PODMAN)
        ),
        *(
            (
                place,
                [
                    "allow bpf(2): SystemCallFilter=@system-service bpf perf_event_open of a systemd unit, "
                    "--security-opt seccomp=unconfined of a container",
                    "start it in the host's pid namespace (a container: --pid=host)",
                    "mount -t x x /x",
                    "allow the device: DeviceAllow=/dev/kmsg r in a systemd unit, --device=/dev/kmsg for a container",
                    "create the device: mknod -m 600 /dev/kmsg c 1 11 (a container: --device=/dev/kmsg)",
                ],
            )
            for place in (OTHER, Surroundings())
        ),
    ],
)
def test_each_remedy_is_in_the_terms_of_what_runs_the_container(where, hints):
    assert [
        remedies.allow_system_call(where, "bpf(2)"),
        remedies.share_pids(where),
        remedies.mount_host(where, "/x", "mount -t x x /x"),
        *(remedies.pass_kmsg(where, exists=exists) for exists in (True, False)),
    ] == hints


@pytest.mark.parametrize("where", PLACES)
def test_no_remedy_is_a_privileged_container_and_each_is_one_line(where):
    hints = [
        remedies.grant(where, 0, "BPF", "PERFMON", "SYSLOG"),
        remedies.leave_user_namespace(where),
        remedies.allow_system_call(where, "bpf(2)"),
        remedies.share_pids(where),
        remedies.mount_host(where, "/sys/kernel/tracing", "mount -t tracefs tracefs /sys/kernel/tracing"),
        *(remedies.pass_kmsg(where, exists=exists) for exists in (True, False)),
        *(remedies.lower_oom_score(where, -1000, 7, allowed=allowed) for allowed in (True, False)),
    ]

    assert all(hints) or where.container == "kubernetes"
    assert not [hint for hint in hints if "privileged" in hint or "\n" in hint]
