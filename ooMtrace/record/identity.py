# SPDX-License-Identifier: Apache-2.0
"""The objects of a record that say where the victim belonged: container, pod, unit, scheduler, application.

Names follow OpenTelemetry's semantic conventions (container.id, k8s.pod.uid) where these have one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ooMtrace.record.fields import always, expected, optional

QosClass = Literal["guaranteed", "burstable", "besteffort"]
SchedulerSystem = Literal["slurm", "htcondor", "nomad", "ecs"]
ApplicationKind = Literal["snap", "flatpak", "talos"]
UnitManager = Literal["system", "user", "container"]
WorkloadKind = Literal["Deployment", "CronJob", "StatefulSet"]
OomPolicy = Literal["continue", "stop", "kill"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterContainer:
    """A container in which the victim's container runs."""

    id: str = always("Container id")
    runtime: str | None = expected("Container runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The image that a container was started from."""

    name: str = always("Name of the image, as the container was started with")


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """The innermost container that the victim ran in."""

    id: str = always("Container id; LXC, LXD, Incus and systemd-nspawn identify a container by its name")
    runtime: str | None = expected(
        "Container runtime: `docker`, `containerd`, `cri-o`, `podman`, `buildkit`, `runc`, `lxc` (also of LXD and"
        " Incus), `systemd-nspawn`, `garden`, `fargate` or `firecracker`"
    )
    name: str | None = optional("Name of the container")
    image: Image | None = optional("The image that the container was started from")
    labels: Mapping[str, str] | None = optional(
        "Labels of the container, of a fixed list: those of Docker Compose, Swarm and GitLab Runner, recommended labels"
        " of Kubernetes, and the version of the image. docs/identity.md has the list"
    )
    project: str | None = optional("Project of an LXD or Incus container that is not in the default project")
    pod: str | None = optional(
        "Id of the podman pod that the container belongs to, or of the sandbox of its Kubernetes pod (`crictl pods`)"
    )
    parents: tuple[OuterContainer, ...] | None = optional(
        "Containers around this one, the outermost first; at most eight"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A Kubernetes pod."""

    uid: str = always(
        "Uid of the pod. Of a static pod it is the hash of its configuration: the annotation kubernetes.io/config.hash"
    )
    name: str | None = optional("Name of the pod")


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesNamespace:
    """A Kubernetes namespace."""

    name: str = always("Name of the namespace")


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesContainer:
    """The container as the pod's specification has it."""

    name: str | None = optional("Name of the container in its pod")
    restart_count: int | None = optional("How often the kubelet has restarted the container")


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesNode:
    """The node that the pod runs on."""

    name: str = always("Name of the node: the environment variable NODE_NAME of oomtrace, which its DaemonSet sets")


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesWorkload:
    """What created the pod, as far as the pod's name shows it."""

    kind: WorkloadKind | None = optional(
        "Kind of workload: `Deployment`, `CronJob` or `StatefulSet`; absent if pods of several kinds have such names"
        " (DaemonSet, Job, ReplicaSet)"
    )
    name: str = always("Name of the workload: the pod's name without what the controller has appended")


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesOomScoreAdj:
    """The oom_score_adj that the kubelet gives to the containers of the pod's QoS class."""

    min: int = always("Lowest value that the QoS class implies")
    max: int = always("Highest value that the QoS class implies")
    matches: bool | None = optional(
        "Whether the victim's oom_score_adj is one of these, or that of a node-critical pod (-997, formerly -998). If"
        " not, the process or its image has changed it"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubernetes:
    """The Kubernetes pod that the victim ran in."""

    namespace: KubernetesNamespace | None = optional("The namespace of the pod")
    pod: Pod = always("The pod")
    container: KubernetesContainer | None = optional("The container as the pod's specification has it")
    node: KubernetesNode | None = optional("The node that the pod runs on")
    workload: KubernetesWorkload | None = optional(
        "What created the pod: derived from the pod's name by the rules of Kubernetes' own controllers, and so named in"
        " `derived`. Absent if the name follows none of them; wrong if a pod was named by hand in the same way"
    )
    qos: QosClass | None = expected("Quality of service class of the pod: `guaranteed`, `burstable` or `besteffort`")
    oom_score_adj: KubernetesOomScoreAdj | None = optional("The oom_score_adj that the QoS class implies")


@dataclass(frozen=True, slots=True, kw_only=True)
class Systemd:
    """The systemd unit that the victim ran in."""

    unit: str | None = optional("Name of the unit, such as `sidekiq.service`")
    slice: str | None = optional("Slice of that unit")
    manager: UnitManager | None = optional(
        "Whose unit it is. `system`: the host's systemd. `user`: the systemd instance of the user `user`, who may"
        " choose any unit name. `container`: the systemd in the container, whose root may choose any unit name"
    )
    user: int | None = optional("User id of the user slice (`user-UID.slice`) on the host")
    session: str | None = optional("Login session on the host, as listed by `loginctl`")
    invocation_id: str | None = optional(
        "Invocation of the unit, as `journalctl _SYSTEMD_INVOCATION_ID=` expects it; only of a unit of the host's"
        " systemd. `derived` names it if it is the victim's variable INVOCATION_ID, which may be inherited or changed"
    )
    oom_policy: OomPolicy | None = optional(
        "OOMPolicy= of the unit, from its files and systemd's defaults: what systemd does after a kill in the unit."
        " `continue`: nothing. `stop`: it stops the unit. `kill`: the kernel kills the unit as a whole. Only of a unit"
        " of the host's systemd; absent if the files do not settle it"
    )
    stops_unit: bool | None = optional(
        "Whether systemd ends the rest of the unit because of this kill: with `oom_policy` `stop` or `kill`, and the"
        " memory controller on cgroup version 2, for systemd does not notice the kill otherwise"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """What a batch system or orchestrator other than Kubernetes ran the victim as."""

    system: SchedulerSystem = always("Batch system or orchestrator: `slurm`, `htcondor`, `nomad` or `ecs`")
    id: str | None = optional("Slurm job id or SLUID, Nomad allocation id, or ECS task id")
    step: str | None = optional("Slurm step: a number, `batch`, `extern` or `interactive`")
    task: str | None = optional("Slurm task of the step, or name of the Nomad task")
    slot: str | None = optional("HTCondor slot: `condor_status -long SLOT` shows its job")


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """The packaged application that the victim belonged to."""

    kind: ApplicationKind = always("Packaging system: `snap`, `flatpak` or `talos` (a service of Talos Linux)")
    id: str = always("Name of the snap or Talos service, or Flatpak application id")
