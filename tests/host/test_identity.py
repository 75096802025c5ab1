# SPDX-License-Identifier: Apache-2.0
"""Kills in cgroups that are named as runtimes, the kubelet and systemd name theirs: in the line and from the log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.tracer import COMMAND
from support.witness import oom_kill_count

from ooMtrace.errors import OomtraceError
from ooMtrace.kernel.cgroup_mounts import read_cgroup_mounts
from ooMtrace.kernel.scratch_cgroup import ScratchCgroup, scratch_cgroup

LIMIT = 24 << 20
LOGGED = ("docker, cgroupfs", "pod, systemd", "kind")
"""Those that are compared with the kernel log: waiting for a whole report takes seconds."""

OVERWRITTEN_BY = 20
"""A report has about 80 lines, and the buffer of the kernel's log may have room for 25 of them."""

ID, OUTER = (f"{os.getpid():08x}{name * 28}" for name in ("a1", "b2"))
UID = f"{os.getpid():08x}-2222-3333-4444-555555555555"
POD_SLICE = f"kubepods-burstable-pod{UID.replace('-', '_')}.slice"
KIND_SLICE = f"kubelet-kubepods-besteffort-pod{UID.replace('-', '_')}.slice"
KIND = f"/docker/{OUTER}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/{KIND_SLICE}"
SLICES = f"/kubepods.slice/kubepods-burstable.slice/{POD_SLICE}"
JOB = os.getpid()
SERVICE = rf"oomtrace\x2dtest-{JOB}.service"

BURSTABLE = {"pod": {"uid": UID}, "qos": "burstable", "oom_score_adj": {"min": 2, "max": 999, "matches": False}}
BESTEFFORT = {"pod": {"uid": UID}, "qos": "besteffort", "oom_score_adj": {"min": 1000, "max": 1000, "matches": False}}
"""The victims have 0."""


def unit(name: str, slice_: str, manager: str = "system", **more: Any) -> dict[str, Any]:
    return {"unit": name, "slice": slice_, "manager": manager, **more}


KILLS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "docker, cgroupfs": (
        f"/docker/{ID}",
        "",
        {"limit_owner": "container", "container": {"id": ID, "runtime": "docker"}},
        f"container {ID[:12]} was killed: container limit of 24.0 MiB",
    ),
    "docker, systemd": (
        f"/system.slice/docker-{ID}.scope",
        "",
        {
            "limit_owner": "container",
            "container": {"id": ID, "runtime": "docker"},
            "systemd": unit(f"docker-{ID}.scope", "system.slice"),
        },
        f"container {ID[:12]} was killed: container limit of 24.0 MiB",
    ),
    "pod, cgroupfs": (
        f"/kubepods/burstable/pod{UID}/{ID}",
        f"/kubepods/burstable/pod{UID}",
        {"limit_owner": "pod", "container": {"id": ID}, "k8s": BURSTABLE},
        f"pod {UID[:8]}/container {ID[:12]} was killed: pod limit of 24.0 MiB",
    ),
    "pod, systemd": (
        f"{SLICES}/cri-containerd-{ID}.scope",
        f"{SLICES}",
        {
            "limit_owner": "pod",
            "container": {"id": ID, "runtime": "containerd"},
            "k8s": BURSTABLE,
            "systemd": unit(f"cri-containerd-{ID}.scope", POD_SLICE),
        },
        f"pod {UID[:8]}/container {ID[:12]} was killed: pod limit of 24.0 MiB",
    ),
    "kind": (
        f"{KIND}/cri-containerd-{ID}.scope",
        f"/docker/{OUTER}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice",
        {
            "limit_owner": "qos",
            "container": {"id": ID, "runtime": "containerd", "parents": [{"id": OUTER, "runtime": "docker"}]},
            "k8s": BESTEFFORT,
            "systemd": unit(f"cri-containerd-{ID}.scope", KIND_SLICE, "container"),
        },
        f"pod {UID[:8]}/container {ID[:12]} was killed:"
        " QoS class limit (kubelet-kubepods-besteffort.slice) of 24.0 MiB",
    ),
    "unit": (
        f"/system.slice/{SERVICE}",
        "",
        {"limit_owner": "unit", "systemd": unit(SERVICE, "system.slice")},
        f"{SERVICE} was killed: unit limit of 24.0 MiB",
    ),
    "session": (
        f"/user.slice/user-{JOB}.slice/session-c7.scope",
        f"/user.slice/user-{JOB}.slice",
        {
            "limit_owner": "slice",
            "systemd": unit("session-c7.scope", f"user-{JOB}.slice", user=JOB, session="c7"),
        },
        f"session c7 of user {JOB} was killed: slice limit (user-{JOB}.slice) of 24.0 MiB",
    ),
    "slurm": (
        f"/slurm/uid_1000/job_{JOB}/step_batch",
        f"/slurm/uid_1000/job_{JOB}",
        {"limit_owner": "job", "scheduler": {"system": "slurm", "id": str(JOB), "step": "batch"}},
        f"Slurm job {JOB}.batch was killed: job limit of 24.0 MiB",
    ),
}
"""The victim's cgroup, the one with the limit if it is another, the facts, and what the message says of them."""


@contextmanager
def cgroups(path: str) -> Iterator[dict[str, ScratchCgroup]]:
    """Make a cgroup and all above it that are not there; remove those that were made."""
    where = read_cgroup_mounts().memory_hierarchy()
    assert where is not None
    made: dict[str, ScratchCgroup] = {}
    with ExitStack() as stack:
        parents = [str(each) for each in reversed(Path(path).parents)][1:]
        for each in (*parents, path):
            if (where.mount / each[1:]).exists() and each != path:  # systemd's own, for example
                continue
            try:
                made[each] = stack.enter_context(scratch_cgroup(each[1:]))
            except OomtraceError as error:
                pytest.fail(str(error))
            if where.version != 1 and each != path:
                (where.mount / each[1:] / "cgroup.subtree_control").write_text("+memory")
        yield made


@pytest.mark.parametrize("name", KILLS)
def test_a_kill_names_what_the_cgroup_belongs_to(name, tracer, victim, validate, reported_kill, tmp_path):
    """container (id, runtime, parents), k8s (pod uid, qos), systemd (unit, slice, manager, user, session), scheduler.

    The log of the same kill gives the same, and a trigger's path is not taken for the victim's.
    """
    path, limited, facts, place = KILLS[name]
    with cgroups(path) as made:
        made[limited or path].limit(LIMIT)
        reported = reported_kill(lambda: victim("hog", made[path]).go()) if name in LOGGED else None
        dead = reported.victim if reported else victim("hog", made[path]).go()
        assert dead.end() == -signal.SIGKILL
    pid = dead.pid

    (line,) = tracer.lines_of([pid])

    validate(line)
    assert line["cgroup"]["path"] == path
    assert line["oom"]["memcg"]["path"] == (limited or path)
    assert identity(line) == facts
    assert line["message"] == f"victim (pid {pid}) in {place}"
    if reported is None:
        return
    if not reported.complete:
        pytest.skip("other processes are killed all the time, and the kernel does not print all reports")
    logged = next((each for each in log_lines(tmp_path) if each["process"].get("pid") == pid), None)
    if logged is None and oom_kill_count() - line["oom"]["number"] > OVERWRITTEN_BY:
        pytest.skip("other processes are killed all the time, and the kernel's log has no room for all reports")
    assert logged is not None
    validate(logged)
    assert identity(logged) == facts
    assert logged["message"] == line["message"]


def identity(line: dict[str, Any]) -> dict[str, Any]:
    names = ("container", "k8s", "systemd", "scheduler", "application")
    return {"limit_owner": line["oom"]["limit_owner"], **{name: line[name] for name in names if name in line}}


def log_lines(folder: Path) -> list[dict[str, Any]]:
    """Return what `oomtrace logs` makes of the kernel log of this boot."""
    output = folder / "logged"
    subprocess.run([COMMAND, "logs", "--output", output, "/dev/kmsg"], check=False, capture_output=True)
    return [json.loads(line) for line in output.read_text().splitlines()]
