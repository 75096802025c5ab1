# SPDX-License-Identifier: Apache-2.0
"""The one command or setting that gives what is missing, for where this process runs. Pure.

None of them asks for a privileged container: that would give far more than is missing.
"""

from __future__ import annotations

from collections.abc import Sequence

from ooMtrace.kernel.surroundings import Surroundings

CAP_BPF = 39
RUN_AS_ROOT = "run as root: sudo oomtrace"
HOST_USER_NAMESPACE = {
    "kubernetes": "set hostUsers: true in the pod's spec",
    "docker": "start the container with --userns=host, by a Docker that runs as root",
    "podman": "start the container as root: sudo podman run",
}
SECCOMP = {
    "kubernetes": "set securityContext.seccompProfile.type: Unconfined in the container's spec",
    "docker": "start the container with --security-opt seccomp=unconfined",
    "podman": "start the container with --security-opt seccomp=unconfined",
}
HOST_PIDS = {
    "kubernetes": "share the host's: set hostPID: true in the pod's spec",
    "docker": "share the host's: start the container with --pid=host",
    "podman": "share the host's: start the container with --pid=host",
}


def grant(where: Surroundings, held: int, *names: str) -> str:
    """Return how to get capabilities.

    Args:
        where: Where this process runs.
        held: The effective capabilities that matter here, as a bit mask.
        names: What is missing, without `CAP_`.
    """
    if not where.host_users:
        return leave_user_namespace(where)
    *most, last = (f"CAP_{name}" for name in names)
    full = f"{', '.join(most)} and {last}" if most else last
    if where.container == "kubernetes":
        user = "" if where.uid == 0 else "runAsUser: 0 and "
        return f"set {user}capabilities.add: [{', '.join(names)}] in the container's securityContext"
    if where.container in ("docker", "podman"):
        user = "" if where.uid == 0 else "--user=0 "
        return f"start the container with {user}{' '.join(f'--cap-add={name}' for name in names)}"
    if where.uid == 0:
        return f"grant {full}: CapabilityBoundingSet= of a systemd unit, --cap-add of a container"
    if not held:
        return RUN_AS_ROOT
    return f"grant {full}, too: AmbientCapabilities= of a systemd unit, --ambient-caps of setpriv"


def bpf_capabilities(where: Surroundings, lacking: Sequence[str]) -> Sequence[str]:
    """Return what to ask for: CAP_BPF and CAP_PERFMON exist since Linux 5.8, and were part of CAP_SYS_ADMIN before."""
    return lacking if where.last_capability >= CAP_BPF else ("SYS_ADMIN",)


def leave_user_namespace(where: Surroundings) -> str:
    """Return how to run in the initial user namespace."""
    return HOST_USER_NAMESPACE.get(where.container, f"leave the user namespace, and {RUN_AS_ROOT}")


def allow_system_call(where: Surroundings, call: str) -> str:
    """Return how to get past a seccomp filter."""
    unit = "SystemCallFilter=@system-service bpf perf_event_open of a systemd unit"
    return SECCOMP.get(where.container, f"allow {call}: {unit}, --security-opt seccomp=unconfined of a container")


def share_pids(where: Surroundings) -> str:
    """Return how to see the processes of the host."""
    return HOST_PIDS.get(where.container, "start it in the host's pid namespace (a container: --pid=host)")


def mount_host(where: Surroundings, path: str, command: str) -> str:
    """Return how to see a directory of the host; `command` mounts it where nothing is in the way."""
    if where.container == "kubernetes":
        return f"mount the host's into the container: hostPath {path}, readOnly"
    if where.container in ("docker", "podman"):
        return f"start the container with --volume={path}:{path}:ro"
    return command


def pass_kmsg(where: Surroundings, *, exists: bool) -> str:
    """Return how to get the device /dev/kmsg; `exists` if it is there and may not be opened.

    "" in Kubernetes, which passes devices to privileged containers only; a hostPath does not suffice.
    """
    if where.container == "kubernetes":
        return ""
    if where.container in ("docker", "podman"):
        return "start the container with --device=/dev/kmsg:/dev/kmsg:r"
    if exists:
        return "allow the device: DeviceAllow=/dev/kmsg r in a systemd unit, --device=/dev/kmsg for a container"
    return "create the device: mknod -m 600 /dev/kmsg c 1 11 (a container: --device=/dev/kmsg)"


def lower_oom_score(where: Surroundings, score: int, pid: int, *, allowed: bool) -> str:
    """Return how to exempt this process from the OOM killer.

    Args:
        where: Where this process runs.
        score: The wanted oom_score_adj.
        pid: Of this process.
        allowed: Whether CAP_SYS_RESOURCE is in the bounding set: without it, not even root may lower the value here.
    """
    if where.container == "kubernetes":
        return "set priorityClassName: system-node-critical in the pod's spec"
    if where.container in ("docker", "podman"):
        return f"start the container with --oom-score-adj={score}"
    if not (allowed and where.host_users):
        return f"CAP_SYS_RESOURCE is withheld here: start it from systemd with OOMScoreAdjust={score}"
    choom = f"choom -n {score} -p {pid}"
    return f"set OOMScoreAdjust={score} in its unit, or run: {choom if where.uid == 0 else f'sudo {choom}'}"
