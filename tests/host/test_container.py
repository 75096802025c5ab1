# SPDX-License-Identifier: Apache-2.0
"""The image with exactly the rights and mounts of the DaemonSet, run by runc: it reports a kill on the host."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if "OOMTRACE_CONTAINER" not in os.environ:
    pytest.skip("building the image takes minutes: `make test-container`", allow_module_level=True)

from support.networks import Network
from support.oci import (
    NODE,
    Container,
    Node,
    bind,
    container_of,
    dockerfile,
    image_layers,
    image_root,
    manifest,
    runtime_spec,
)
from support.runtimes import PODMAN, Bed, bed

POD, ID = "11111111-2222-3333-4444-555555555555", "a1" * 32


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    return runtime_spec(container_of(manifest())["securityContext"]["capabilities"]["add"])


@pytest.fixture
def node(tmp_path: Path, spec: dict[str, Any]) -> Node:
    return Node(tmp_path, spec)


@pytest.fixture
def tracing(node: Node) -> Iterator[Container]:
    """Run the DaemonSet's container; return it once it traces."""
    with node.run(node.config(manifest())) as container:
        container.wait_for_message("tracing at level")
        container.wait_until_ready()
        yield container


def test_a_kill_on_the_host_is_reported_as_by_a_tracer_on_the_host(tracing, tracer, cgroup, victim):
    process = victim("hog", cgroup(24), uid=65534).go()
    process.end()

    line, (expected,) = tracing.line_of(process.pid), tracer.lines_of([process.pid])
    assert line["host"] == {**expected["host"], "name": NODE}
    assert line["fidelity"] == expected["fidelity"]
    for each in (line, expected):
        del each["oom"]["incident"]
    for name in ("oom", "process", "namespace", "cgroup", "missing", "derived"):
        assert line[name] == expected[name]


def test_a_victim_in_a_pod_has_the_names_of_the_pod(node, cgroup, victim):
    """The files of the node are those that the kubelet makes for the logs of a container."""
    log = node.host_path(f"/var/log/pods/prod_web-0_{POD}/worker/0.log")
    log.parent.mkdir(parents=True)
    log.touch()
    links = node.host_path("/var/log/containers")
    links.mkdir()
    (links / f"web-0_prod_worker-{ID}.log").symlink_to(f"/var/log/pods/prod_web-0_{POD}/worker/0.log")
    with node.run(node.config(manifest())) as container:
        container.wait_for_message("tracing at level")
        for name in ("kubepods", "kubepods/burstable", f"kubepods/burstable/pod{POD}"):
            cgroup(name=name)
        limited = cgroup(24, name=f"kubepods/burstable/pod{POD}/{ID}")
        process = victim("hog", limited).go()
        process.end()
        line = container.line_of(process.pid)

    assert line["k8s"]["node"] == {"name": NODE}
    assert line["k8s"]["pod"]["uid"] == POD
    assert (line["k8s"]["namespace"]["name"], line["k8s"]["pod"]["name"]) == ("prod", "web-0")


def test_with_the_component_for_addresses_victims_in_another_network_have_them(tmp_path, cgroup, victim):
    """The first line may be without: it does not wait until the module for netlink is loaded on a busy machine."""
    daemonset = manifest("addresses")
    node = Node(tmp_path, runtime_spec(container_of(daemonset)["securityContext"]["capabilities"]["add"]))
    network = Network().connect()
    found = []
    try:
        with node.run(node.config(daemonset)) as container:
            container.wait_until_ready()
            join = ["nsenter", f"--net=/run/netns/{network.name}"]
            victim("hog", cgroup(), wrapper=join)  # as the sandbox of a pod, it keeps the namespace
            for _ in range(4):
                process = victim("hog", cgroup(24), wrapper=join).go()
                process.end()
                found.append(container.line_of(process.pid)["namespace"].get("addresses"))
    finally:
        network.delete()

    assert found[-1] == ["198.51.100.2", "198.51.100.3", "2001:db8::2"], found


def test_the_probes_of_the_kubelet_succeed_while_it_traces(tracing):
    container = container_of(manifest())
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        done = tracing.exec(*container[name]["exec"]["command"])
        assert done.returncode == 0, (name, done.stderr)

    (pid,) = [int((tracing.node.folder / "empty/run/ready").read_text())]
    os.kill(pid, signal.SIGSTOP)
    assert tracing.exec(*container["livenessProbe"]["exec"]["command"]).returncode == 1
    os.kill(pid, signal.SIGCONT)


def test_kills_while_it_did_not_run_are_counted_after_a_restart(node, cgroup, victim):
    config = node.config(manifest())
    with node.run(config) as container:
        container.wait_for_message("tracing at level")
        container.wait_until_ready()
        container.command("kill", container.name, "TERM")
        container.process.wait(10)
    victim("hog", cgroup(24)).go().end()
    with node.run(config) as container:
        container.wait_until_ready()
        lost = container.wait_for_line("oom_lost")

    assert lost["lost"]["count"] >= 1


def test_its_memory_stays_far_below_the_limit(tracing, cgroup, victim):
    process = victim("hog", cgroup(24)).go()
    process.end()
    tracing.line_of(process.pid)
    usage, limit = tracing.memory()
    print(f"{usage >> 20} MiB of {limit >> 20} MiB")

    assert usage < limit * 0.8


def test_it_ends_in_time(tracing):
    tracing.command("kill", tracing.name, "TERM")

    assert tracing.process.wait(5) == 0
    assert not (tracing.node.folder / "empty/run/ready").exists()


def test_it_has_no_more_than_the_manifest_states(tracing):
    pid = (tracing.node.folder / "empty/run/ready").read_text().strip()
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())

    names = container_of(manifest())["securityContext"]["capabilities"]["add"]
    numbers = {"BPF": 39, "PERFMON": 38, "SYSLOG": 34, "IPC_LOCK": 14}
    allowed = sum(1 << numbers[name] for name in names)
    assert int(status["CapPrm"], 16) | allowed == allowed
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_doctor_in_the_container_knows_what_is_missed_there(tracing):
    done = tracing.exec("/usr/bin/python3", "-I", "-B", "-m", "ooMtrace", "doctor")

    assert done.returncode == 0, done.stderr
    verdict, *_ = done.stdout.splitlines()
    assert "addresses of containers, kills from before the start" in verdict
    assert "Kubernetes passes no devices" in " ".join(done.stdout.split())


def test_a_host_path_does_not_give_the_kernel_log_and_nothing_else_is_missed_with_it(node):
    """The runtime's list of devices forbids it: this is why the manifest does not mount it."""
    config = node.config(manifest())
    config["mounts"].append(bind(Path("/dev/kmsg"), "/dev/kmsg", read_only=True))
    with node.run(config) as container:
        container.wait_for_message("tracing at level")
        done = container.exec("/usr/bin/python3", "-I", "-B", "-m", "ooMtrace", "doctor", "--quick")

    assert "/dev/kmsg cannot be read (Operation not permitted)" in done.stdout


@pytest.mark.parametrize("lacking", ["BPF", "PERFMON"])
def test_without_a_capability_it_names_the_setting_of_the_pod(node, lacking):
    daemonset = manifest()
    container_of(daemonset)["securityContext"]["capabilities"]["add"].remove(lacking)
    with node.run(node.config(daemonset)) as container:
        assert container.process.wait(60) == 77

    assert f"set capabilities.add: [{lacking}] in the container's securityContext" in container.messages()


@pytest.mark.parametrize("call", ["bpf", "perf_event_open"])
def test_where_the_seccomp_profile_forbids_a_call_it_names_that_setting(node, call):
    config = node.config(manifest())
    for rule in config["linux"]["seccomp"]["syscalls"]:
        rule["names"] = [name for name in rule["names"] if name != call]
    config["linux"]["seccomp"]["syscalls"] = [rule for rule in config["linux"]["seccomp"]["syscalls"] if rule["names"]]
    with node.run(config) as container:
        assert container.process.wait(60) == 77

    assert "set securityContext.seccompProfile.type: Unconfined in the container's spec" in container.messages()


def test_without_the_pids_of_the_host_it_names_that_setting(node):
    daemonset = manifest()
    del daemonset["spec"]["template"]["spec"]["hostPID"]
    with node.run(node.config(daemonset)) as container:
        container.wait_for_message("set hostPID: true in the pod's spec")
        container.wait_for_message("tracing at level")


PAGE = (Path(__file__).parents[2] / "docs/kubernetes.md").read_text()
UNCONFINED = "--security-opt=seccomp=unconfined"
# CAP_SYS_RESOURCE, which not every root has, is needed to raise limits and to lower oom_score_adj
LIMITS = ("--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Return a function that runs the page's command with podman, in the runtimes' own pid namespace."""
    (command,) = re.findall(r"^docker run (.*?)(?=```)", PAGE, re.MULTILINE | re.DOTALL)
    words = command.replace("\\\n", " ").split()
    options = [word for word in words[: words.index("oomtrace:0.1.0")] if not word.startswith("--oom-score-adj")]
    (tmp_path / "bed").mkdir()
    with bed(tmp_path / "bed") as made:
        made.path("/etc/containers").mkdir(exist_ok=True)
        made.path("/etc/containers/policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        mount_image(made, tmp_path)

        def doctor(*more: str, without: str = "") -> str:
            given = (*LIMITS, *(word for word in options if word != without), *more)
            return made.run(
                *PODMAN, "run", "--rm", *given, "--rootfs", "/srv/rootfs", *dockerfile().entrypoint, "doctor"
            )

        yield doctor


def mount_image(made: Bed, folder: Path) -> None:
    made.path("/srv/rootfs").mkdir()
    upper, work = image_layers(folder)
    layers = f"lowerdir={image_root()},upperdir={upper},workdir={work}"
    subprocess.run(
        [*made.enter, "mount", "-t", "overlay", "-o", layers, "overlay", made.root / "srv/rootfs"], check=True
    )


def test_the_command_for_docker_reaches_a_level_with_probes(podman):
    assert re.match(r"works: level (full|reduced)", podman(UNCONFINED))


def test_an_option_that_is_missing_is_named(podman):
    assert "-> start the container with --cap-add=PERFMON" in podman(UNCONFINED, without="--cap-add=PERFMON")


def test_where_podmans_own_profile_forbids_bpf_the_option_is_named(podman):
    report = podman()

    assert re.match(r"works: level (full|reduced)", report) or "--security-opt seccomp=unconfined" in report
