# SPDX-License-Identifier: Apache-2.0
"""What runtimes, Kubernetes, systemd and schedulers call their cgroups. Data and patterns only.

A pattern is matched against one component of a path as a whole; a component has at most 255 bytes (NAME_MAX), so none
can be slow. Anybody may name a cgroup who has been given one to manage, so patterns are as narrow as the names are.
"""

from __future__ import annotations

import re

HEX64 = "[0-9a-f]{64}"
UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
POD_UID = "[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32}"
"""A UUID, in slices with underscores; of a static pod a hash of 32 digits."""

RUNTIMES = {
    "docker": "docker",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "cri-o",
    "libpod": "podman",
    "libpod-payload": "podman",
    "runc": "runc",
}
"""Prefix of a cgroup or scope -> container runtime."""

PARENTS = {
    "docker": "docker",
    "actions_job": "docker",  # GitHub Actions
    "default": "containerd",  # containerd's default namespace
    "k8s.io": "containerd",
}
"""Cgroup -> runtime of the containers directly below it whose own name has no prefix."""

CONTAINER = re.compile(
    rf"(?:[^:]*:)?(?:(?P<prefix>[A-Za-z0-9_.]+(?:-[A-Za-z0-9_.]+)*)[-:])?(?P<id>{HEX64})(?:\.scope)?"
)
"""`slice:prefix:id` is a systemd cgroup path that a runtime with the cgroupfs driver took for a directory's name."""

MONITOR = re.compile(r"(?:.*[-:])?conmon(?:[-:.].*)?|lxc\.(?:monitor|pivot)(?:\..*)?", re.DOTALL)
"""Processes that watch a container from outside."""

CONTAINERD_ID = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")
CONTAINERD_NAMESPACES = ("default", "k8s.io")
BUILDKIT_ID = re.compile(r"[0-9a-z]{8,64}")
FARGATE = re.compile(r"(?P<task>[0-9a-f]{32})-[0-9]+")
GARDEN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){4}")
FIRECRACKER_PARENT = re.compile(r"firecracker[\w.-]*", re.ASCII)
FIRECRACKER_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
LXC = re.compile(r"lxc\.payload\.(?P<name>[\w.:@+~-]+)")
LXC_NAME = re.compile(r"(?!lxc\.(?:monitor|pivot))[\w.:@+~-]+")
LXC_PROJECT = re.compile(r"(?P<project>[A-Za-z0-9][A-Za-z0-9.-]*)_(?P<name>[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?)")
"""LXD and Incus: neither projects nor instances may have an underscore in their names."""

NSPAWN = re.compile(r"systemd-nspawn@(?P<name>[\w.\\:-]+)\.service", re.ASCII)
PODMAN_POD = re.compile(rf"(?:[\w-]+-)?libpod_pod_(?P<id>{HEX64})(?:\.slice)?", re.ASCII)
SUBGROUPS = ("container", "payload", "ns", "exec")
"""Cgroups that runtimes make inside a container's own: crun, systemd-nspawn, Proxmox, CRI-O."""

KUBEPODS = re.compile(r"kubepods|(?:[\w.]+-)*kubepods\.slice", re.ASCII)
QOS_SLICE = re.compile(r"(?:[\w.]+-)*kubepods-(?P<qos>burstable|besteffort)\.slice", re.ASCII)
POD_SLICE = re.compile(
    rf"(?:[\w.]+-)*kubepods(?:-(?P<qos>burstable|besteffort))?-pod(?P<uid>{POD_UID})\.slice(?P<rest>:.*)?",
    re.ASCII | re.DOTALL,
)
POD_CGROUP = re.compile(rf"pod(?P<uid>{POD_UID})")

UNIT_NAME = r"[A-Za-z0-9:_.\\@-]+"
SLICE = re.compile(rf"(?:{UNIT_NAME})\.slice")
UNIT = re.compile(rf"(?P<name>{UNIT_NAME}\.(?:service|scope|socket|mount|swap))")
USER_SLICE = re.compile(r"user-(?P<uid>[0-9]{1,10})\.slice")
USER_MANAGER = re.compile(r"user@[0-9]{1,10}\.service")
SESSION = re.compile(r"session-(?P<id>[A-Za-z0-9]+)\.scope")
ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})")

SNAP = re.compile(r"snap\.(?P<id>[a-z0-9-]+(?:_[a-z0-9]+)?)\..+")
FLATPAK = re.compile(r"(?:app-)?flatpak-(?P<id>.+)-[0-9]+\.scope")
TALOS_PARENTS = ("podruntime", "system")
TALOS_SERVICE = re.compile(r"[a-z][a-z0-9-]*")

SLURM_SCOPE = re.compile(r"(?:.+_)?slurmstepd\.scope", re.DOTALL)
SLURM_V1 = re.compile(r"slurm(?:_.+)?", re.DOTALL)
SLURM_USER = re.compile(r"uid_[0-9]+")
SLURM_JOB = re.compile(r"job_(?P<id>[0-9]+)|(?P<sluid>s[0-9A-Z]{13})")
SLURM_STEP = re.compile(r"step_(?P<step>[0-9]+|batch|extern|interactive)")
SLURM_TASK = re.compile(r"task_(?P<task>[0-9]+|special)")
CONDOR = re.compile(r"(?:.*_)?(?P<slot>slot[0-9]+(?:_[0-9]+)?@[A-Za-z0-9@._-]+?)(?:\.(?:slice|scope))?", re.DOTALL)
"""The execute directory with underscores for its slashes, and the slot: `slot1_1@HOST` or `slot1_1@STARTD@HOST`."""

NOMAD_PARENTS = ("share.slice", "reserve.slice", "share", "reserve", "nomad", "nomad.slice")
NOMAD = re.compile(rf"(?P<id>{UUID})\.(?P<task>[\w.\\:@ -]+?)(?:\.scope)?", re.ASCII)
ECS_TASK = re.compile(rf"[0-9a-f]{{32}}|{UUID}")
ECS_SLICE = re.compile(r"ecstasks-(?P<id>[0-9a-f]{32})\.slice")


def unescape(name: str) -> str:
    r"""Undo systemd's escapes (`\x2d`) of printable ASCII characters; others stay as they are."""

    def character(found: re.Match[str]) -> str:
        decoded = chr(int(found[1], 16))
        return decoded if decoded.isascii() and decoded.isprintable() else found[0]

    return ESCAPE.sub(character, name)
