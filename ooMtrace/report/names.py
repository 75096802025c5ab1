# SPDX-License-Identifier: Apache-2.0
"""By which names kills are counted: the workload, the limit, and what ran out of memory. Pure."""

from __future__ import annotations

from ooMtrace.explain.case import Case
from ooMtrace.explain.facts import Facts

UNKNOWN = "not known"
SERIES = ("limit of a cgroup", "host or NUMA nodes", "other or not known", "SIGKILL from user space")
"""What the chart over time tells apart."""

BY_SCOPE = {"memcg": SERIES[0], "global": SERIES[1], "cpuset": SERIES[1], "mempolicy": SERIES[1]}


def workload(facts: Facts) -> str:
    """Return what the victim is a part of, by a name that outlives it: the same for its replicas and next starts."""
    if facts.has("k8s"):
        return _pod(facts)
    if system := facts.text("scheduler.system", 20):  # each job has an id of its own
        return f"{system}: {facts.text('process.comm', 20) or UNKNOWN}"
    if container := facts.text("container.name"):
        return f"container {container}"
    if image := facts.text("container.image.name"):
        return f"image {image}"
    if (unit := facts.text("systemd.unit")) and not unit.endswith(".scope"):  # scopes are numbered
        return f"unit {unit}"
    if application := facts.text("application.id"):
        return f"application {application}"
    path = facts.path("cgroup.path")
    if path and path != "/" and not facts.has("systemd.session") and not facts.has("container"):
        return f"cgroup {path}"
    return f"process {comm}" if (comm := facts.text("process.comm", 20)) else UNKNOWN


def limit_name(case: Case) -> str:
    """Return whose limit was hit."""
    facts, owner = case.facts, case.facts.word("oom.limit_owner")
    if owner == "container" or (owner == "unit" and not case.is_limit_above):
        return workload(facts)
    if owner == "pod" and facts.has("k8s"):
        return f"all containers of {_pod(facts, with_container=False)}"
    path = facts.path("oom.memcg.path")
    return f"cgroup {path}" if path else UNKNOWN


def host(facts: Facts) -> str:
    """Return the name of the machine."""
    return facts.text("host.name", 64) or UNKNOWN


def series(case: Case) -> str:
    """Return which of SERIES a kill belongs to."""
    return SERIES[3] if case.event == "sigkill" else BY_SCOPE.get(case.scope or "", SERIES[2])


def _pod(facts: Facts, *, with_container: bool = True) -> str:
    name, kind = facts.text("k8s.workload.name", 100), facts.text("k8s.workload.kind", 40) or "workload"
    pod = facts.text("k8s.pod.name", 100) or facts.text("k8s.pod.uid", 40) or UNKNOWN
    parts = [facts.text("k8s.namespace.name", 64), f"{kind} {name}" if name else f"pod {pod}"]
    if with_container:
        parts.append(facts.text("k8s.container.name", 64))
    return " / ".join(part for part in parts if part)
