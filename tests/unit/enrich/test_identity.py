# SPDX-License-Identifier: Apache-2.0
"""Where a victim belonged and whose limit was hit, from the cgroups of its record."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ooMtrace import record
from ooMtrace.enrich.identity import add_identity
from ooMtrace.output.encode import encode, plain
from ooMtrace.record import OomKill, missing_facts

DOC = Path(__file__).parents[3] / "docs/identity.md"
ID = "a1" * 32
UID = "11111111-2222-3333-4444-555555555555"
POD_SLICE = f"kubepods-burstable-pod{UID.replace('-', '_')}.slice"
POD = f"/kubepods.slice/kubepods-burstable.slice/{POD_SLICE}"
DOCKER = {"id": ID, "runtime": "docker"}


def kill(
    path: str | None = None, *, version: int = 2, v2: str | None = None, memcg: str | None = None, **changes: Any
) -> OomKill:
    unified = None if v2 is None else record.UnifiedCgroup(path=v2)
    return OomKill(
        id="vm-1",
        observed="2026-11-28T00:00:00.000000Z",
        message="",
        host=record.Host(),
        **{
            "fidelity": "reduced",
            "oom": record.Oom(
                incident="1",
                scope="memcg" if memcg else None,
                memcg=record.Memcg(path=memcg, limit=200 << 20) if memcg else None,
            ),
            "process": record.Process(pid=7, comm="ruby"),
            "cgroup": record.Cgroup(path=path, version=version, v2=unified),
            **changes,
        },
    )


def identified(*paths: str | None, **changes: Any) -> dict[str, Any]:
    facts: dict[str, Any] = plain(add_identity()(kill(*paths, **changes)))
    return facts


@pytest.mark.parametrize("fidelity", ["full", "reduced", "minimal", "log"])
@pytest.mark.parametrize("version", [1, 2])
def test_lines_of_every_level_and_both_versions_have_the_same_identity(fidelity, version):
    line = identified(f"{POD}/cri-containerd-{ID}.scope", version=version, fidelity=fidelity)

    assert line["container"] == {"id": ID, "runtime": "containerd"}
    assert line["k8s"] == {"pod": {"uid": UID}, "qos": "burstable"}
    assert line["systemd"] == {"unit": f"cri-containerd-{ID}.scope", "slice": POD_SLICE, "manager": "system"}


def test_a_process_outside_of_containers_has_a_unit_a_session_and_a_user():
    line = identified("/user.slice/user-1000.slice/session-3.scope")

    assert line["systemd"] == {
        "unit": "session-3.scope",
        "slice": "user-1000.slice",
        "manager": "system",
        "user": 1000,
        "session": "3",
    }


def test_what_does_not_exist_is_absent_and_not_missing():
    found = add_identity()(kill("/jobs/nightly"))

    assert {"container", "k8s", "systemd", "scheduler", "application"}.isdisjoint(plain(found))
    assert not [name for name in missing_facts(found) if name.startswith(("container", "k8s", "systemd"))]


def test_a_runtime_that_the_path_does_not_show_is_missing():
    assert "container.runtime" in missing_facts(add_identity()(kill(f"/kubepods/pod{UID}/{ID}")))


@pytest.mark.parametrize("path", ["/", None, "/system.slice"])
def test_on_version_1_without_accounting_the_unit_is_that_of_the_version_2_path(path):
    line = identified(path, version=1, v2="/system.slice/web.service")

    assert line["systemd"] == {"unit": "web.service", "slice": "system.slice", "manager": "system"}


def test_on_version_1_without_accounting_container_and_pod_are_those_of_the_version_2_path():
    line = identified("/", version=1, v2=f"{POD}/cri-containerd-{ID}.scope")

    assert (line["container"]["id"], line["k8s"]["pod"]["uid"]) == (ID, UID)


def test_the_memory_cgroup_takes_precedence_over_the_version_2_path():
    line = identified(f"/docker/{ID}", version=1, v2=f"/docker/{'b2' * 32}")
    assert line["container"] == DOCKER

    line = identified("/system.slice/web.service", version=1, v2="/system.slice/other.service")
    assert line["systemd"]["unit"] == "web.service"


def test_without_the_victims_cgroup_it_is_where_the_limit_was_hit():
    """The kernel log does not state the cgroup of a victim that it did not choose."""
    line = identified(cgroup=None, memcg=f"/docker/{ID}")

    assert line["container"] == DOCKER


@pytest.mark.parametrize(
    ("memcg", "owner"),
    [
        (f"/docker/{ID}", "container"),
        (f"/machine.slice/libpod-{ID}.scope/container", "container"),
        (POD, "pod"),
        (f"/kubepods/pod{UID}", "pod"),
        ("/kubepods.slice/kubepods-burstable.slice", "qos"),
        ("/kubepods/besteffort", "qos"),
        ("/kubepods.slice", "kubepods"),
        ("/kubepods", "kubepods"),
        ("/docker/" + ID + "/kubelet/kubepods/burstable", "qos"),
        ("/system.slice/slurmstepd.scope/job_1", "job"),
        ("/system.slice/slurmstepd.scope/job_1/step_0/user", "job"),
        ("/system.slice/web.service", "unit"),
        ("/user.slice/user-1000.slice/user@1000.service", "unit"),
        ("/user.slice/user-1000.slice", "slice"),
        ("/system.slice", "slice"),
        ("/system.slice/web.service/workers", "cgroup"),
        ("/burstable", "cgroup"),
        ("/jobs", "cgroup"),
    ],
)
def test_the_limit_owner_is_what_the_cgroup_is_that_reached_its_limit(memcg, owner):
    assert identified("/jobs/nightly", memcg=memcg)["oom"]["limit_owner"] == owner


@pytest.mark.parametrize(
    ("scope", "owner"), [("global", "node"), ("cpuset", None), ("mempolicy", None), ("sysrq", None), ("memcg", None)]
)
def test_without_a_limit_its_owner_is_the_node_or_unknown(scope, owner):
    assert identified("/a", oom=record.Oom(incident="1", scope=scope))["oom"].get("limit_owner") == owner


def test_the_message_leads_with_job_pod_and_container():
    """As the example in the documentation."""
    found = re.search(r"```json\n(.*?)```", DOC.read_text(), re.DOTALL)
    assert found
    example = json.loads(found[1])
    victim = kill(f"{POD}/cri-containerd-{ID}.scope", memcg=POD)
    process = replace(victim.process, pid=4711)
    line = plain(add_identity()(replace(victim, process=process, job=record.Job(system="sidekiq"))))

    assert {name: line[name] for name in example if name != "oom"} == {k: v for k, v in example.items() if k != "oom"}
    assert line["oom"]["limit_owner"] == example["oom"]["limit_owner"]


@pytest.mark.parametrize(
    ("path", "memcg", "place", "limit"),
    [
        (f"{POD}/cri-containerd-{ID}.scope", POD, "pod 11111111/container a1a1a1a1a1a1", "pod limit"),
        ("/system.slice/web.service", "/system.slice/web.service", "web.service", "unit limit"),
        ("/system.slice/web.service", "/system.slice", "web.service", "slice limit (system.slice)"),
        (
            "/user.slice/user-1000.slice/session-3.scope",
            "/user.slice/user-1000.slice/session-3.scope",
            "session 3 of user 1000",
            "unit limit",
        ),
    ],
)
@pytest.mark.parametrize(
    ("verdict", "how"), [("killed", ""), ("group_member", " as a member of its cgroup's memory.oom.group")]
)
def test_the_message_states_place_limit_and_verdict(path, memcg, place, limit, verdict, how):
    oom = record.Oom(incident="1", scope="memcg", verdict=verdict, memcg=record.Memcg(path=memcg, limit=200 << 20))

    assert identified(path, oom=oom)["message"] == f"ruby (pid 7) in {place} was killed{how}: {limit} of 200.0 MiB"


def test_a_victim_of_no_known_place_has_the_message_that_it_had_before():
    line = identified("/jobs/nightly", memcg="/jobs")

    assert line["message"] == (
        "ruby (pid 7) was killed by the kernel's OOM killer: memory cgroup /jobs reached its limit of 200.0 MiB"
    )


@pytest.mark.parametrize("path", ["/docker/" + ID, "/lxc.payload." + "ä" * 120, "/lxc.payload.a\udcff", "/\x1b\udcff"])
def test_any_identity_can_be_encoded(path):
    printable = path.encode("utf-8", "backslashreplace").decode()

    assert encode(add_identity()(kill(printable)))
