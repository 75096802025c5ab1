# SPDX-License-Identifier: Apache-2.0
"""Adds what follows from the pod: its workload and node, the oom_score_adj of its class, whose group kill it was."""

from __future__ import annotations

import re
from dataclasses import replace

from ooMtrace.enrich import Enricher
from ooMtrace.enrich.cgroup_identity import parse_cgroup_path
from ooMtrace.enrich.workload import workload
from ooMtrace.record import Kubernetes, KubernetesNode, KubernetesOomScoreAdj, OomKill
from ooMtrace.record.identity import QosClass

OOM_SCORE_ADJ: dict[QosClass, tuple[int, int]] = {
    "guaranteed": (-998, -997),
    "burstable": (2, 999),
    "besteffort": (1000, 1000),
}
"""kubernetes: pkg/kubelet/qos/policy.go. -998 and 2 are those of older releases; now -997 and 3."""

NODE_CRITICAL = range(-998, -996)
"""Pods of the priority class system-node-critical have it whatever their class, and so have sandboxes."""

NODE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
"""An RFC 1123 subdomain."""


def add_kubernetes(node: str | None = None) -> Enricher:
    """Return an enricher that adds what follows from the pod; it comes after the pod's name.

    Args:
        node: Name of this node; one that Kubernetes does not allow is not used.
    """
    known = KubernetesNode(name=node) if node and NODE_NAME.fullmatch(node) else None

    def enrich(kill: OomKill) -> OomKill:
        kill = _with_group_owner(kill)
        if kill.k8s is None:
            return kill
        found = _workload(kill.k8s)
        facts = replace(found, node=known, oom_score_adj=_oom_score_adj(found.qos, kill.process.oom_score_adj))
        return replace(kill, k8s=facts, derived=_with(kill.derived, "k8s.workload" if facts.workload else None))

    return enrich


def _workload(kubernetes: Kubernetes) -> Kubernetes:
    name = kubernetes.pod.name
    return replace(kubernetes, workload=workload(name, kubernetes.pod.uid) if name else None)


def _oom_score_adj(qos: QosClass | None, actual: int | None) -> KubernetesOomScoreAdj | None:
    if qos is None:
        return None
    lowest, highest = OOM_SCORE_ADJ[qos]
    matches = None if actual is None else lowest <= actual <= highest or actual in NODE_CRITICAL
    return KubernetesOomScoreAdj(min=lowest, max=highest, matches=matches)


def _with_group_owner(kill: OomKill) -> OomKill:
    """Name Kubernetes if the group is a container of a pod; the kubelet sets it nowhere else."""
    group = kill.oom.group
    if group is None or group.path is None:
        return kill
    found = parse_cgroup_path(group.path)
    if found.owner != "container" or found.k8s is None:
        return kill
    oom = replace(kill.oom, group=replace(group, set_by="kubernetes"))
    return replace(kill, oom=oom, derived=_with(kill.derived, "oom.group.set_by"))


def _with(names: tuple[str, ...], name: str | None) -> tuple[str, ...]:
    return names if name is None or name in names else (*names, name)
