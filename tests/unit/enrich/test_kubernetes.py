# SPDX-License-Identifier: Apache-2.0
"""What follows from a pod's name, class and cgroup."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.enrich.identity import add_identity
from ooMtrace.enrich.kubernetes import add_kubernetes
from ooMtrace.output.encode import plain
from ooMtrace.record import OomKill

ID = "a1" * 32
UID = "11111111-2222-3333-4444-555555555555"
POD = f"/kubepods/burstable/pod{UID}"


def victim(path: str = f"{POD}/{ID}", *, adj: int | None = None, group: str | None = None, pod: str = "") -> OomKill:
    oom = record.Oom(incident="1", scope="memcg", group=record.Group(path=group, size=2) if group else None)
    process = record.Process(pid=7, comm="ruby", oom_score_adj=adj)
    found = add_identity()(kill(cgroup=record.Cgroup(path=path, version=2), oom=oom, process=process))
    if found.k8s is None or not pod:
        return found
    return replace(found, k8s=replace(found.k8s, pod=replace(found.k8s.pod, name=pod)))


def kubernetes(event: OomKill, node: str | None = None) -> dict[str, Any]:
    facts: dict[str, Any] = plain(add_kubernetes(node)(event))["k8s"]
    return facts


def test_a_pods_workload_is_derived_from_its_name():
    found = add_kubernetes()(victim(pod="web-6d4b75cb6d-hx7kd"))

    assert plain(found)["k8s"]["workload"] == {"kind": "Deployment", "name": "web"}
    assert found.derived == ("k8s.workload",)


@pytest.mark.parametrize("pod", ["", "web"])
def test_a_name_that_follows_no_rule_has_no_workload(pod):
    found = add_kubernetes()(victim(pod=pod))

    assert "workload" not in plain(found)["k8s"]
    assert found.derived == ()


@pytest.mark.parametrize("node", ["node-1", "ip-10-0-0-1.eu-central-1.compute.internal"])
def test_a_pod_has_the_name_of_the_node(node):
    assert kubernetes(victim(), node)["node"] == {"name": node}


@pytest.mark.parametrize("node", [None, "", "a b", "A", "a\n", "-", "a" * 254])
def test_a_name_that_no_node_can_have_is_not_used(node):
    assert "node" not in kubernetes(victim(), node)


def test_outside_of_pods_nothing_is_added():
    event = victim("/system.slice/web.service", group="/system.slice/web.service")

    assert add_kubernetes("node-1")(event) == event


@pytest.mark.parametrize(
    ("qos", "adj", "lowest", "highest", "matches"),
    [
        ("burstable/", 999, 2, 999, True),
        ("burstable/", 2, 2, 999, True),
        ("burstable/", 1, 2, 999, False),
        ("burstable/", 1000, 2, 999, False),
        ("burstable/", -997, 2, 999, True),
        ("besteffort/", 1000, 1000, 1000, True),
        ("besteffort/", 999, 1000, 1000, False),
        ("besteffort/", 0, 1000, 1000, False),
        ("", -997, -998, -997, True),
        ("", -998, -998, -997, True),
        ("", -999, -998, -997, False),
        ("", 0, -998, -997, False),
    ],
)
def test_the_class_implies_an_oom_score_adj(qos, adj, lowest, highest, matches):
    """kubernetes: pkg/kubelet/qos/policy.go, and its older releases."""
    event = victim(f"/kubepods/{qos}pod{UID}/{ID}", adj=adj)

    assert kubernetes(event)["oom_score_adj"] == {"min": lowest, "max": highest, "matches": matches}


def test_without_the_victims_oom_score_adj_it_is_not_compared():
    assert kubernetes(victim())["oom_score_adj"] == {"min": 2, "max": 999}


def test_a_group_kill_of_a_pods_container_is_that_of_the_kubelet():
    found = add_kubernetes()(victim(group=f"{POD}/{ID}"))

    assert found.oom.group == record.Group(path=f"{POD}/{ID}", size=2, set_by="kubernetes")
    assert found.derived == ("oom.group.set_by",)


@pytest.mark.parametrize("group", [POD, f"{POD}/{ID}/workers", f"/docker/{ID}", "/system.slice/web.service", "/a"])
def test_a_group_kill_of_another_cgroup_is_not_that_of_the_kubelet(group):
    found = add_kubernetes()(victim(group=group))

    assert found.oom.group is not None
    assert found.oom.group.set_by is None
    assert found.derived == ()
