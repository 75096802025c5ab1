# SPDX-License-Identifier: Apache-2.0
"""Debian's container runtimes, in mount and pid namespaces of their own: the host's runtimes and files stay unseen.

However the test ends, all processes in the pid namespace end with it, and then the mounts. A tracer that is started
with `Bed.enter` sees the files of these runtimes where it looks for them.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from .cri import CriClient
from .roots import Recipe, root

PACKAGES = ("docker.io", "containerd", "runc", "podman", "conmon", "busybox-static", "iptables")
IMAGE = "images.test/shop/app:1.4"
LIMIT = 32 << 20
TIMEOUT_S = 60
RUN_S = 600
"""What is left of a container after that time ends by itself."""

START = """\
set -eu
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
for folder in /run /var/lib /var/log; do
    mount -t tmpfs -o mode=755 tmpfs "$folder"
    mount --bind "$folder" "$2/root$folder"
done
for folder in /etc/docker /etc/containerd /etc/containers; do
    [ ! -d "$folder" ] || mount -t tmpfs -o mode=755 tmpfs "$folder"
done
mount -t proc proc "$2/root/proc"
for folder in /sys /dev; do mount --rbind "$folder" "$2/root$folder"; done
mount -t tmpfs tmpfs "$2/root/tmp"
echo up
sleep infinity &
wait
"""
"""As process 1 it also reaps what others leave, such as shims."""

DIE_WITH_TEST = ("setpriv", "--pdeathsig", "KILL", "--")
CGROUP_PARENTS = ("docker", "kubepods", "kubepods/burstable", "libpod_parent", "libpod_parent/conmon")
CONTAINERD = "/run/containerd/containerd.sock"
CONTAINERD_TOML = f"""\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{IMAGE}"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
conf_dir = "/etc/none"
"""
DOCKERD = (
    *("dockerd", f"--containerd={CONTAINERD}", "--iptables=false", "--ip-masq=false", "--ip-forward=false"),
    *("--bridge=none", "--userland-proxy=false", "--exec-opt=native.cgroupdriver=cgroupfs"),
)
# CAP_SYS_RESOURCE, which not every root has, is needed to raise limits: the defaults of the runtimes would
RUN = (
    *("run", "--detach", "--network=none", "--ulimit=nofile=1024:1024"),
    *(f"--memory={LIMIT}", f"--memory-swap={LIMIT}"),
)
PODMAN = ("podman", "--runtime=runc", "--cgroup-manager=cgroupfs", "--events-backend=file")


@dataclass(frozen=True, slots=True)
class Pod:
    """What the kubelet would tell a runtime about a pod and its only container."""

    uid: str
    namespace: str = "prod"
    name: str = "web-0"
    container: str = "worker"
    restarts: int = 3


@dataclass(frozen=True, slots=True)
class Started:
    """A container, and what its runtime says of it.

    Attributes:
        id: Its id, 64 hexadecimal digits.
        files: Its first process in `/proc`.
        name: Its name; None if this runtime has none.
        image: The name of its image.
        pod: What the runtime knows about its pod; None if it is in none.
    """

    id: str
    files: Path
    name: str | None
    image: str
    pod: Pod | None = None

    def go(self) -> None:
        """Let its script go on."""
        (self.files / "root/go").touch()


class Runtime(Protocol):
    """A runtime that runs."""

    name: str

    def start(self, name: str, script: str, *, removed: bool = False, pod: Pod | None = None) -> Started:
        """Start a container with this script, which waits for `go`; `removed` as with `run --rm`."""
        ...

    def remove_all(self) -> None:
        """Remove all containers."""
        ...


@dataclass(frozen=True, slots=True)
class Bed:
    """Debian's runtimes, not started; commands run in a root tree of their own.

    Attributes:
        root: The tree, in the mount namespace.
        pid: A process in the mount namespace; process 1 of the pid namespace is its child.
        started: The daemons.
        pods: The cgroups of pods, which only the kubelet removes.
    """

    root: Path
    pid: int
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    pods: set[str] = field(default_factory=set)

    @property
    def enter(self) -> tuple[str, ...]:
        """Return the words before a command that is to see the files of these runtimes."""
        return (*DIE_WITH_TEST, "nsenter", f"--mount=/proc/{self.pid}/ns/mnt", "--")

    def _inside(self, *command: str) -> list[str]:
        path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
        enter = ("nsenter", f"--mount=/proc/{self.pid}/ns/mnt", f"--pid=/proc/{self.pid}/ns/pid_for_children", "--")
        return [*enter, "chroot", str(self.root), "env", "-i", path, "HOME=/root", "LC_ALL=C.UTF-8", *command]

    def run(self, *command: str, stdin: bytes = b"") -> str:
        """Run a command to its end and return what it printed."""
        # files, not pipes: what a command leaves running would hold a pipe open
        with io.FileIO(os.memfd_create("out"), "r+") as out, io.FileIO(os.memfd_create("err"), "r+") as err:
            with subprocess.Popen(self._inside(*command), stdin=subprocess.PIPE, stdout=out, stderr=err) as process:
                assert process.stdin
                with suppress(BrokenPipeError):
                    process.stdin.write(stdin)
                process.stdin.close()
                code = process.wait(TIMEOUT_S)
            out.seek(0)
            err.seek(0)
            assert code == 0, f"{' '.join(command)}: {err.read().decode(errors='replace')}"
            return out.read().decode()

    def start(self, *command: str) -> None:
        """Start a daemon; it ends with the bed."""
        with (self.root.parent / f"{command[0]}.log").open("wb") as log:
            self.started.append(subprocess.Popen(self._inside(*command), stdout=log, stderr=log))

    def pod_cgroup(self, pod: Pod) -> str:
        """Return the cgroup of a pod, which is removed at the end."""
        path = f"/kubepods/burstable/pod{pod.uid}"
        self.pods.add(path)
        return path

    def path(self, path: str) -> Path:
        """Return where this process finds a path of the tree."""
        return Path(f"/proc/{self.pid}/root{self.root}{path}")

    def process(self, pid: int) -> Path:
        """Return the files in /proc of a process of the pid namespace."""
        return self.path(f"/proc/{pid}")

    def wait_for(self, *command: str) -> None:
        """Wait until a command succeeds."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                self.run(*command)
            except AssertionError:
                assert time.monotonic() < deadline
                assert all(daemon.poll() is None for daemon in self.started), "a daemon has ended"
                time.sleep(0.1)
            else:
                return


@contextmanager
def bed(folder: Path) -> Iterator[Bed]:
    """Mount the tree; at the end nothing is left of what ran in it: processes, mounts and cgroups."""
    tree = root("oomtrace-runtimes", Recipe("bookworm", "essential", PACKAGES))
    for name in ("upper", "work", "root"):
        (folder / name).mkdir()
    namespaces = ("unshare", "--mount", "--pid", "--kill-child")
    command = [*DIE_WITH_TEST, *namespaces, "sh", "-c", START, "sh", str(tree), str(folder)]
    with (
        cgroup_parents(),
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as keeper,
    ):
        made = Bed(folder / "root", keeper.pid)
        try:
            assert keeper.stdout
            assert keeper.stdout.readline() == "up\n"
            yield made
        finally:
            used = _cgroups_of_containers(made)
            keeper.kill()
            keeper.wait(TIMEOUT_S)
            for daemon in made.started:
                daemon.wait(TIMEOUT_S)
            _remove_cgroups([*used, *made.pods])


@contextmanager
def cgroup_parents() -> Iterator[None]:
    """Make the cgroups that runtimes put containers into, where others have not, and remove those made here."""
    made = []
    for mount in _cgroup_mounts():
        for parent in CGROUP_PARENTS:
            with suppress(FileExistsError):
                (mount / parent).mkdir()
                made.append(mount / parent)
    try:
        yield
    finally:
        for folder in reversed(made):
            _remove_cgroup(folder, 0.2)  # others may use it, too


def _cgroup_mounts() -> list[Path]:
    """Return the roots of all cgroup hierarchies; a link is another name of one."""
    top = Path("/sys/fs/cgroup")
    return [each for each in (top, *top.iterdir()) if (each / "cgroup.procs").exists() and os.path.ismount(each)]


def _cgroups_of_containers(made: Bed) -> set[str]:
    """Return the cgroups of the processes in the pid namespace that are below a parent for containers."""
    paths = set()
    for file in made.path("/proc").glob("[0-9]*/cgroup"):
        with suppress(OSError):  # ended
            paths |= {line.split(":", 2)[2] for line in file.read_text().splitlines()}
    parents = tuple(f"/{parent}" for parent in CGROUP_PARENTS)
    below = tuple(f"{parent}/" for parent in parents)
    return {path for path in paths if path.startswith(below) and path not in parents}


def _remove_cgroups(paths: Iterable[str]) -> None:
    """Remove these cgroups, which have no processes any more."""
    for path in paths:
        for mount in _cgroup_mounts():
            _remove_cgroup(mount / path.lstrip("/"), 5)


def _remove_cgroup(folder: Path, timeout_s: float) -> None:
    """Remove a cgroup, of which the last process may still be exiting."""
    deadline = time.monotonic() + timeout_s
    while folder.exists() and time.monotonic() < deadline:
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.05)


def _archive(made: Bed) -> bytes:
    """Return an image as `docker save` would write it: a static busybox."""
    layer = _tar({"bin/busybox": made.path("/bin/busybox").read_bytes()}, ("sh", "tail", "sleep", "nc", "grep"))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/sleep", "600"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    texts = {name: json.dumps(value).encode() for name, value in (("config.json", config), ("manifest.json", manifest))}
    return _tar({**texts, "layer.tar": layer})


def _tar(files: Mapping[str, bytes], links: tuple[str, ...] = ()) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
        for name in links:
            member = tarfile.TarInfo(f"bin/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(member)
    return output.getvalue()


def _containerd(made: Bed) -> None:
    made.path("/etc/containerd").mkdir(exist_ok=True)
    made.path("/etc/containerd/config.toml").write_text(CONTAINERD_TOML)
    made.start("containerd")
    made.wait_for("ctr", "version")


@dataclass(frozen=True, slots=True)
class _Engine:
    """Docker or podman: the same command line."""

    bed: Bed
    name: str
    command: tuple[str, ...]

    def start(self, name: str, script: str, *, removed: bool = False, pod: Pod | None = None) -> Started:
        options = ["--rm"] if removed else []
        if pod:
            labels = {
                "io.kubernetes.pod.uid": pod.uid,
                "io.kubernetes.pod.namespace": pod.namespace,
                "io.kubernetes.pod.name": pod.name,
                "io.kubernetes.container.name": pod.container,
                "annotation.io.kubernetes.container.restartCount": str(pod.restarts),
            }
            options += [f"--cgroup-parent={self.bed.pod_cgroup(pod)}", "--oom-score-adj=999"]
            options += [f"--label={key}={value}" for key, value in labels.items()]
        options += [] if self.name == "docker" else ["--ulimit=nproc=1024:1024"]
        self.bed.run(*self.command, *RUN, *options, f"--name={name}", IMAGE, "/bin/sh", "-c", script)
        (details,) = json.loads(self.bed.run(*self.command, "container", "inspect", name))
        image = details["Config"]["Image"] if self.name == "docker" else details["ImageName"]
        return Started(
            details["Id"], self.bed.process(details["State"]["Pid"]), details["Name"].removeprefix("/"), image, pod
        )

    def remove_all(self) -> None:
        # podman sends SIGTERM first, which a shell that is PID 1 ignores, and waits for ten seconds
        at_once = () if self.name == "docker" else ("--time=0",)
        for id_ in self.bed.run(*self.command, "ps", "--all", "--quiet").split():
            with suppress(AssertionError):  # gone with --rm
                self.bed.run(*self.command, "rm", "--force", *at_once, id_)


@dataclass(frozen=True, slots=True)
class _Cri:
    bed: Bed
    client: CriClient
    name: str = "containerd"

    def start(self, name: str, script: str, *, removed: bool = False, pod: Pod | None = None) -> Started:
        assert pod is not None
        self.bed.pod_cgroup(pod)
        command = ("/bin/sh", "-c", script)
        id_ = self.client.start(pod.uid, pod.namespace, pod.name, pod.container, pod.restarts, IMAGE, command, LIMIT)
        status = self.client.status(id_)
        said = Pod(status.labels["io.kubernetes.pod.uid"], pod.namespace, pod.name, status.name, status.attempt)
        return Started(id_, self.bed.process(status.pid), None, status.image, said)

    def remove_all(self) -> None:
        self.client.remove_all()


@contextmanager
def docker(made: Bed) -> Iterator[Runtime]:
    """Start dockerd and its containerd."""
    _containerd(made)
    made.start(*DOCKERD)
    made.wait_for("docker", "version")
    made.run("docker", "load", stdin=_archive(made))
    yield from _removing(_Engine(made, "docker", ("docker",)))


@contextmanager
def podman(made: Bed) -> Iterator[Runtime]:
    """Make podman usable: it has no daemon."""
    made.path("/etc/containers").mkdir(exist_ok=True)
    made.path("/etc/containers/policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    made.run(*PODMAN, "load", stdin=_archive(made))
    yield from _removing(_Engine(made, "podman", PODMAN))


@contextmanager
def containerd_cri(made: Bed) -> Iterator[Runtime]:
    """Start containerd with its CRI plugin."""
    _containerd(made)
    made.run("ctr", "--namespace=k8s.io", "images", "import", "-", stdin=_archive(made))
    with CriClient(made.path(CONTAINERD)) as client:
        yield from _removing(_Cri(made, client))


def _removing(runtime: Any) -> Iterator[Runtime]:
    try:
        yield runtime
    finally:
        runtime.remove_all()


RUNTIMES = {"docker": docker, "containerd": containerd_cri, "podman": podman}
