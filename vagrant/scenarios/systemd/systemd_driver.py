# SPDX-License-Identifier: Apache-2.0
"""Scopes as the systemd cgroup driver of container runtimes makes them: limits of a container, a pod, a QoS class."""

import subprocess
from typing import NamedTuple

from _scenario import scenario
from _tolerances import at
from _units import GROW, LIMIT, MEMORY, check_systemd, scope, set_limit, stop

ID = "0123456789abcdef" * 4
UID = "11111111-2222-3333-4444-55555555555{}"
NODE, QOS = "kubepods.slice", "kubepods-burstable.slice"


def pod(number: int, qos: str = "burstable") -> str:
    """Return the slice of a pod: the kubelet's own rule, with `_` for the `-` of the uid."""
    prefix = "kubepods" if qos == "guaranteed" else f"kubepods-{qos}"
    return f"{prefix}-pod{UID.format(number).replace('-', '_')}.slice"


class Case(NamedTuple):
    """A container of a pod, and whose limit it hits."""

    scope: str
    slice: str
    runtime: str
    owner: str
    limited: str = ""
    """The slice that has the limit; else it is the scope itself."""
    pod: int | None = None
    qos: str | None = None


CASES = (
    Case(f"cri-containerd-{ID}.scope", pod(1), "containerd", "container", "", 1, "burstable"),
    Case(f"cri-containerd-{ID[::-1]}.scope", pod(2, "guaranteed"), "containerd", "container", "", 2, "guaranteed"),
    Case(f"crio-{ID}.scope", pod(3, "besteffort"), "cri-o", "container", "", 3, "besteffort"),
    Case(f"cri-containerd-{ID}.scope", pod(4), "containerd", "pod", pod(4), 4, "burstable"),
    Case(f"docker-{ID}.scope", pod(5), "docker", "qos", QOS, 5, "burstable"),
    Case(f"cri-containerd-{ID}.scope", pod(6), "containerd", "kubepods", NODE, 6, "burstable"),
    Case(f"docker-{ID}.scope", "system.slice", "docker", "container"),
)

with scenario() as run:
    pids = []
    for case in CASES:
        if case.limited:
            set_limit(case.limited, MEMORY)
        pids.append(scope(case.scope, case.slice, GROW, *(() if case.limited else LIMIT)))
        stop(case.scope)
        if case.limited:
            subprocess.run(["systemctl", "revert", case.limited], check=True)
    lines = run.kills(pids)
    for case, line in zip(CASES, lines, strict=False):
        check_systemd(run, line, {"unit": case.scope, "slice": case.slice, "manager": "system"}, case.owner)
        run.equal("id", at(line, "container.id"), case.scope.split("-")[-1].removesuffix(".scope"))
        run.equal("runtime", at(line, "container.runtime"), case.runtime)
        run.equal("pod", at(line, "k8s.pod.uid"), case.pod and UID.format(case.pod))
        run.equal("QoS class", at(line, "k8s.qos"), case.qos)
        run.equal("whose limit", at(line, "oom.memcg.path").rpartition("/")[2], case.limited or case.scope)
