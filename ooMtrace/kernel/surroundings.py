# SPDX-License-Identifier: Apache-2.0
"""Where this process runs: as which user, in which container, with which limits. The remedies depend on it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Container = Literal["", "kubernetes", "docker", "podman", "other"]

HOST_USERS = "user:[4026531837]"
"""The initial user namespace has a fixed inode number (PROC_USER_INIT_INO, since 98f842e675f9 in 3.8)."""

LAST_CAPABILITY = 40
"""CAP_CHECKPOINT_RESTORE, of Linux 5.9."""

ALL_CAPABILITIES = (1 << LAST_CAPABILITY + 1) - 1
MAX_BYTES = 256 << 10
KUBELET = b"# Kubernetes-managed hosts file"
"""The kubelet begins the /etc/hosts of a container with it (pkg/kubelet/kubelet_pods.go)."""

PODMAN_HOST = b"\thost.containers.internal"
"""In the /etc/hosts of podman's containers; those with `--rootfs` have no other mark."""

MARKERS: dict[str, Container] = {
    "run/.containerenv": "podman",
    ".dockerenv": "docker",
    "run/systemd/container": "other",
}
FIELDS = re.compile(rb"^\S+ \S+ (?P<major>[0-9]{1,9}):\S+ (?P<root>\S+) / ", re.MULTILINE)
"""The line of the root directory in mountinfo (proc_pid_mountinfo(5))."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The limits of this process that do not come from the kernel's configuration.

    Attributes:
        uid: The effective user id.
        container: What runs the container that it is in; "" if it seems to be in none.
        host_users: Whether its user namespace is the initial one: in another one, capabilities do not count for BPF.
        seccomp: Whether a seccomp filter applies to it.
        bounding: The capabilities that it or its children could ever get, as a bit mask.
        last_capability: Number of the last capability that the kernel has.
        sysfs: Whether /sys is mounted.
        perf_event_paranoid: The kernel's setting of that name; None if unknown.
    """

    uid: int = 0
    container: Container = ""
    host_users: bool = True
    seccomp: bool = False
    bounding: int = ALL_CAPABILITIES
    last_capability: int = LAST_CAPABILITY
    sysfs: bool = True
    perf_event_paranoid: int | None = None


def observe_surroundings(root: Path = Path("/"), proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> Surroundings:
    """Observe this process; never fails: what cannot be read counts as on an ordinary host."""
    status = _read(proc / "self/status")
    bounding = re.search(rb"^CapBnd:\s*([0-9a-f]{1,16})$", status, re.MULTILINE)
    last = _read(proc / "sys/kernel/cap_last_cap").strip()
    paranoid = re.fullmatch(rb"-?[0-9]{1,9}", _read(proc / "sys/kernel/perf_event_paranoid").strip())
    return Surroundings(
        uid=os.geteuid(),
        container=_container(root, proc),
        host_users=_link(proc / "self/ns/user") in ("", HOST_USERS),
        seccomp=re.search(rb"^Seccomp:\s*2$", status, re.MULTILINE) is not None,
        bounding=int(bounding[1], 16) if bounding else ALL_CAPABILITIES,
        last_capability=int(last) if re.fullmatch(rb"[0-9]{1,9}", last) else LAST_CAPABILITY,
        sysfs=(sys / "kernel").exists(),
        perf_event_paranoid=int(paranoid[0]) if paranoid else None,
    )


def _container(root: Path, proc: Path) -> Container:
    """Return what runs this container: from its files, or from the variables that the process was started with."""
    environment, hosts = _read(proc / "self/environ").split(b"\0"), _read(root / "etc/hosts")
    service = any(each.startswith(b"KUBERNETES_SERVICE_HOST=") for each in environment)
    if service or hosts.startswith(KUBELET):
        return "kubernetes"
    if b"container=podman" in environment:
        return "podman"
    if any(each.startswith(b"container=") for each in environment):
        return "other"
    if not _is_made_of_image(_read(proc / "self/mountinfo")):
        return ""
    if PODMAN_HOST in hosts:
        return "podman"
    return next((container for marker, container in MARKERS.items() if (root / marker).exists()), "")


def _is_made_of_image(mountinfo: bytes) -> bool:
    """Return whether the root directory is not just a disk: a machine made of an image may still have its marker."""
    found = FIELDS.search(mountinfo)
    return found is not None and (found["major"] == b"0" or found["root"] != b"/")


def _read(path: Path) -> bytes:
    """Read at most 256 KiB of a file; b"" if it cannot be read."""
    found = b""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return found
    try:
        while part := os.read(fd, MAX_BYTES - len(found)):
            found += part
    except OSError:  # a directory
        return b""
    finally:
        os.close(fd)
    return found


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
