# SPDX-License-Identifier: Apache-2.0
"""From the Dockerfile and the DaemonSet of deploy/ to a container that runc runs on this host.

No registry is used: the image is a Debian root tree with the packages that the Dockerfile names. What a runtime adds to
a manifest (seccomp profile, masked paths, mounts) is what containerd makes for these capabilities.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from .roots import Recipe, root
from .runtimes import PACKAGES, _containerd, bed

M = re.MULTILINE
ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
NODE = "node-1"
NODE_CRITICAL = -997
"""oom_score_adj of containers in node-critical pods (Kubernetes: pkg/kubelet/qos/policy.go)."""

CAP_SYS_RESOURCE = 24
TIMEOUT_S = 60
DEFAULTS = (
    *("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP"),
    *("NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"),
)
"""What containerd gives to a container unless it is dropped."""

RUN = """\
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/rootfs"
shift 2
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """What is built: Debian's suite, its packages, the folders that are copied, and the command."""

    suite: str
    packages: tuple[str, ...]
    copies: tuple[tuple[str, str], ...]
    entrypoint: tuple[str, ...]


def dockerfile() -> Dockerfile:
    """Parse deploy/container/Dockerfile, which uses few of the instructions."""
    text = re.sub(r"\s*\\\n\s*", " ", (DEPLOY / "container/Dockerfile").read_text())
    (suite,) = re.findall(r"^FROM debian:(\w+)-slim$", text, M)
    (packages,) = re.findall(
        r"^RUN apt-get update && apt-get install --yes --no-install-recommends ([^&]+) &&", text, re.M
    )
    (entrypoint,) = re.findall(r"^ENTRYPOINT (.*)$", text, M)
    copies = re.findall(r"^COPY (\S+) (\S+)$", text, M)
    return Dockerfile(suite, tuple(packages.split()), tuple(copies), tuple(json.loads(entrypoint)))


def manifest(*components: str) -> dict[str, Any]:
    """Return the DaemonSet, patched by components."""
    daemonset: dict[str, Any] = yaml.safe_load((DEPLOY / "kubernetes/base/daemonset.yaml").read_text())
    for component in components:
        found = yaml.safe_load((DEPLOY / f"kubernetes/components/{component}/kustomization.yaml").read_text())
        for patch in found["patches"]:
            assert patch["target"] == {"kind": daemonset["kind"], "name": daemonset["metadata"]["name"]}
            for step in yaml.safe_load(patch["patch"]):
                _apply(daemonset, step)
    return daemonset


def _apply(document: Any, step: dict[str, Any]) -> None:
    """Apply one operation of a JSON patch (RFC 6902)."""
    *parents, last = step["path"].strip("/").split("/")
    for name in parents:
        document = document[int(name)] if isinstance(document, list) else document[name]
    key = int(last) if isinstance(document, list) and last != "-" else last
    if step["op"] == "test":
        assert document[key] == step["value"], step
    elif step["op"] == "remove":
        del document[key]
    elif last == "-":
        document.append(step["value"])
    else:
        assert step["op"] == "add" or document[key] is not None
        document[key] = step["value"]


def container_of(daemonset: dict[str, Any]) -> dict[str, Any]:
    """Return the only container."""
    (container,) = daemonset["spec"]["template"]["spec"]["containers"]
    return dict(container)


def runtime_spec(capabilities: Sequence[str]) -> dict[str, Any]:
    """Return the OCI configuration that containerd makes for a container with these capabilities."""
    with TemporaryDirectory(prefix="oomtrace-oci-") as folder, bed(Path(folder)) as made:
        _containerd(made)
        made.path("/srv/rootfs").mkdir()
        drop = [word for name in DEFAULTS for word in ("--cap-drop", f"CAP_{name}")]
        add = [word for name in capabilities for word in ("--cap-add", f"CAP_{name}")]
        made.run("ctr", "containers", "create", "--seccomp", *drop, *add, "--rootfs", "/srv/rootfs", "it", "/bin/true")
        found = json.loads(made.run("ctr", "containers", "info", "it"))["Spec"]
    assert set(found["process"]["capabilities"]["bounding"]) == {f"CAP_{name}" for name in capabilities}
    return dict(found)


def image_root() -> Path:
    """Return the root tree with the packages of the image; nothing may write to it."""
    image = dockerfile()
    return root("oomtrace-image", Recipe(image.suite, "essential", image.packages))


def image_layers(folder: Path) -> tuple[Path, Path]:
    """Make the upper layer of the image in a folder, with what the Dockerfile copies, and a folder for overlayfs."""
    for source, target in dockerfile().copies:
        shutil.copytree(ROOT / source, folder / f"upper{target}", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "work").mkdir()
    return folder / "upper", folder / "work"


class Node:
    """A node of a cluster: this host's kernel, /proc and /sys, and a folder for the other files of a host."""

    def __init__(self, folder: Path, spec: dict[str, Any]) -> None:
        self.folder = folder
        self._spec = spec
        self._image = dockerfile()
        self._tree = image_root()
        runtimes = root("oomtrace-runtimes", Recipe("bookworm", "essential", PACKAGES))
        libraries = runtimes / "usr/lib/x86_64-linux-gnu"
        self._runc = ["env", f"LD_LIBRARY_PATH={libraries}", f"{runtimes}/usr/sbin/runc", "--root", f"{folder}/runc"]
        for name in ("rootfs", "node"):
            (folder / name).mkdir()
        image_layers(folder)

    def host_path(self, path: str) -> Path:
        """Return where a hostPath is: the kernel's are this host's, others are in the folder, not to touch the host."""
        return Path(path) if path.startswith(("/sys/", "/etc/")) else self.folder / f"node{path}"

    def config(self, daemonset: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """Return the OCI configuration of the DaemonSet's container; `changes` replace members of its process."""
        pod, container = daemonset["spec"]["template"]["spec"], container_of(daemonset)
        security = container["securityContext"]
        capabilities = [f"CAP_{name}" for name in security["capabilities"]["add"]]
        assert security["capabilities"]["drop"] == ["ALL"]
        assert security["privileged"] is False
        config = json.loads(json.dumps(self._spec))
        config["process"] = {
            "args": [*self._image.entrypoint, *container["args"]],
            "cwd": "/",
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", f"NODE_NAME={NODE}"],
            "user": {"uid": security["runAsUser"], "gid": security["runAsGroup"]},
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "noNewPrivileges": not security["allowPrivilegeEscalation"],
            **self._oom_score(pod),
            **changes,
        }
        config["root"] = {"path": str(self.folder / "rootfs"), "readonly": security["readOnlyRootFilesystem"]}
        config["hostname"] = "oomtrace-x7k2p"
        config["mounts"] = [each for each in config["mounts"] if each["destination"] != "/run"]
        config["mounts"] += [self._hosts(), *self._volumes(pod, container)]
        linux = config["linux"]
        linux["cgroupsPath"] = f"/oomtrace-oci-{os.getpid()}"
        linux["resources"]["memory"] = {"limit": _bytes(container["resources"]["limits"]["memory"])}
        shared = {"pid"} if pod.get("hostPID") else set()
        linux["namespaces"] = [each for each in linux["namespaces"] if each["type"] not in shared]
        if security["seccompProfile"]["type"] == "Unconfined":
            del linux["seccomp"]
        return dict(config)

    def _oom_score(self, pod: dict[str, Any]) -> dict[str, int]:
        assert pod["priorityClassName"] == "system-node-critical"
        bounding = re.search(r"^CapBnd:\t(\w+)$", Path("/proc/self/status").read_text(), M)
        assert bounding
        # not every root may lower it
        return {"oomScoreAdj": NODE_CRITICAL} if int(bounding[1], 16) >> CAP_SYS_RESOURCE & 1 else {}

    def _hosts(self) -> dict[str, Any]:
        file = self.folder / "hosts"
        file.write_text("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
        return bind(file, "/etc/hosts", read_only=False)

    def _volumes(self, pod: dict[str, Any], container: dict[str, Any]) -> Iterator[dict[str, Any]]:
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
        for mount in container["volumeMounts"]:
            volume = volumes[mount["name"]]
            if "emptyDir" in volume:
                source = self.folder / f"empty/{mount['name']}"
                source.mkdir(parents=True, exist_ok=True)
            else:
                source = self.host_path(volume["hostPath"]["path"])
                if volume["hostPath"]["type"] == "DirectoryOrCreate":
                    source.mkdir(parents=True, exist_ok=True)
            yield bind(source, mount["mountPath"], read_only=mount.get("readOnly", False))

    @contextmanager
    def run(self, config: dict[str, Any]) -> Iterator[Container]:
        """Run a container until the block ends."""
        name = f"oomtrace-test-{os.getpid()}-{time.monotonic_ns()}"
        (self.folder / "config.json").write_text(json.dumps(config))
        enter = ["unshare", "--mount", "sh", "-ec", RUN, "sh", str(self._tree), str(self.folder)]
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            process = subprocess.Popen(
                [*enter, *self._runc, "run", "--bundle", str(self.folder), name],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        running = Container(self, name, process)
        try:
            yield running
        finally:
            if process.poll() is None:
                running.command("kill", name, "KILL")
                process.wait(TIMEOUT_S)
            running.command("delete", "--force", name)

    def runc(self, *arguments: str) -> list[str]:
        """Return a command of runc."""
        return [*self._runc, *arguments]


@dataclass(frozen=True, slots=True)
class Container:
    """A container that runs or has ended."""

    node: Node
    name: str
    process: subprocess.Popen[bytes]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of runc."""
        return subprocess.run(
            self.node.runc(*arguments), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )

    def exec(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as a probe of the kubelet does."""
        return self.command("exec", self.name, *command)

    def messages(self) -> str:
        """Return what it has written to stderr."""
        return (self.node.folder / "err").read_text()

    def lines(self) -> list[dict[str, Any]]:
        """Return its lines so far."""
        return [json.loads(line) for line in (self.node.folder / "out").read_text().split("\n")[:-1]]

    def wait_for_message(self, text: str) -> str:
        """Wait until it has written a message with this text, and return all messages."""
        deadline = time.monotonic() + TIMEOUT_S
        while text not in self.messages():
            assert self.process.poll() is None, self.messages()
            assert time.monotonic() < deadline, self.messages()
            time.sleep(0.02)
        return self.messages()

    def wait_until_ready(self) -> None:
        """Wait until the kubelet would call it ready."""
        deadline = time.monotonic() + TIMEOUT_S
        while not (self.node.folder / "empty/run/ready").exists():
            assert time.monotonic() < deadline, self.messages()
            time.sleep(0.02)

    def line_of(self, pid: int) -> dict[str, Any]:
        """Wait for the line about this process."""
        return self._wait_for(lambda line: line.get("process", {}).get("pid") == pid)

    def wait_for_line(self, event: str) -> dict[str, Any]:
        """Wait for a line with this event."""
        return self._wait_for(lambda line: line["event"] == event)

    def _wait_for(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            found = list(filter(wanted, self.lines()))
            if found:
                return found[0]
            assert time.monotonic() < deadline, self.messages()
            time.sleep(0.02)

    def memory(self) -> tuple[int, int]:
        """Return what it uses, without page cache that could be dropped, and the limit, in bytes."""
        events = json.loads(self.command("events", "--stats", self.name).stdout)["data"]["memory"]
        raw = events["raw"]
        cache = raw.get("total_inactive_file", raw.get("inactive_file", 0)) + raw.get(
            "total_active_file", raw.get("active_file", 0)
        )
        return events["usage"]["usage"] - cache, events["usage"]["limit"]


def bind(source: Path, target: str, *, read_only: bool) -> dict[str, Any]:
    options = ["rbind", "rprivate", "ro" if read_only else "rw"]
    return {"destination": target, "type": "bind", "source": str(source), "options": options}


def _bytes(quantity: str) -> int:
    found = re.fullmatch(r"(\d+)Mi", quantity)
    assert found
    return int(found[1]) << 20
