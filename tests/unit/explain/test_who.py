# SPDX-License-Identifier: Apache-2.0
"""Who died, of what cause, whose process it was, where and when."""

from __future__ import annotations

import pytest
from support.explained_text import MEMCG, case, joined

from ooMtrace.explain.who import CAUSES, SCOPES, headline, name, who


def head(**facts):
    return joined([headline(case(MEMCG, **facts))])


@pytest.mark.parametrize(("owner", "cause"), CAUSES.items())
def test_the_headline_names_the_owner_of_the_limit(owner, cause):
    assert head(oom__limit_owner=owner) == f"Killed: worker {cause}"


@pytest.mark.parametrize(
    ("scope", "cause"), [*SCOPES.items(), ("new", "the line does not say why"), (None, "the line")]
)
def test_the_headline_names_what_ran_out(scope, cause):
    assert head(oom__scope=scope, oom__limit_owner="other").startswith(f"Killed: worker {cause}")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"oom__verdict": "group_member"}, "Killed: worker killed with its group"),
        ({"oom__verdict": "shared_mm"}, "Killed: worker it shared the victim's memory"),
        ({"event": "oom_dying"}, "Not killed, already dying: worker a memory cgroup hit its limit"),
        ({"event": "oom_exit"}, "Gone: worker a memory cgroup hit its limit"),
        ({"event": "sigkill", "sigkill__sender__comm": "oomd"}, "Killed: worker SIGKILL from oomd, not the kernel"),
        ({"event": "sigkill"}, "Killed: worker SIGKILL from another process, not the kernel"),
    ],
)
def test_the_headline_says_how_it_ended(facts, expected):
    assert head(**facts) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"process__title": "puma: worker 1", "process__command_args": ["/bin/ruby"]}, "puma: worker 1"),
        ({"process__title": "", "process__command_args": ["/usr/bin/ruby", "/srv/a.rb"]}, "ruby /srv/a.rb"),
        ({"process__command_args": ["/usr/bin/"]}, "/usr/bin/"),
        ({"process__command_args": []}, "worker"),
        ({"process__command_args": [""]}, "worker"),
        ({"process__command_args": [" ", ""]}, "worker"),
        ({"process__title": "  ", "process__command_args": ["sh"]}, "sh"),
        ({"process__comm": None}, "a process"),
    ],
)
def test_a_process_is_called_by_its_title_or_its_arguments_or_its_name(facts, expected):
    assert name(case(MEMCG, **facts).facts) == expected


def rows(**facts):
    return {row.lines[0][:12].strip(): joined([row]).partition(" ")[2] for row in who(case(MEMCG, **facts))}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "worker, pid 7"),
        ({"process__vpid": 7}, "worker, pid 7"),
        ({"process__vpid": 1}, "worker, pid 7 (pid 1 in its pid namespace)"),
        ({"process__vpid": 1, "container__id": "a"}, "worker, pid 7 (pid 1 in its container)"),
        ({"process__pid": None}, "worker, thread 7"),
        ({"process__comm": None, "process__pid": None, "process__tid": None}, "name not known"),
        ({"process__user__id": 0}, "worker, pid 7, user id 0"),
        ({"process__user": {"id": 0, "name": "root"}}, "worker, pid 7, user root"),
        ({"process__threads": 1}, "worker, pid 7"),
        ({"process__threads": 2}, "worker, pid 7, 2 threads"),
        ({"process__parent": {"comm": "sh"}}, "worker, pid 7, started by sh"),
        ({"process__parent": {"comm": "sh", "pid": 0}}, "worker, pid 7, started by sh (pid 0)"),
    ],
)
def test_the_process_is_stated_with_what_is_known(facts, expected):
    assert rows(**facts)["process"] == expected


POD = {"pod": {"name": "web-1", "uid": "u-1"}, "namespace": {"name": "prod"}}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"cgroup__path": "/a", "host__name": "h"}, "cgroup /a, host h"),
        ({"k8s": POD, "cgroup__path": "/a"}, "pod prod/web-1"),
        ({"k8s": {"pod": {"uid": "u-1"}}}, "pod u-1"),
        ({"k8s": {"qos": "burstable"}}, "pod not known, burstable"),
        ({"k8s": {**POD, "workload": {"name": "web"}}}, "pod prod/web-1, workload web"),
        ({"k8s": {**POD, "container": {"name": "c", "restart_count": 0}}}, "pod prod/web-1/c"),
        ({"k8s": {**POD, "container": {"restart_count": 1}}}, "pod prod/web-1, restarted once before"),
        ({"container__id": "0123456789abcdef"}, "container 0123456789ab"),
        ({"container": {"id": "0", "name": "db", "runtime": "docker"}}, "container db (docker)"),
        ({"container": {"id": "0", "image": {"name": "pg:16"}}}, "container 0 (image pg:16)"),
        ({"scheduler": {"system": "slurm", "id": "7", "step": "0"}}, "slurm 7.0"),
        ({"scheduler": {"system": "slurm"}}, "slurm"),
        (
            {"systemd": {"unit": "a.scope", "session": "3", "user": 0}},
            "unit a.scope, session 3, of user id 0",
        ),
        ({"application__id": "org.x"}, "application org.x"),
        ({"application": {"id": "org.x", "kind": "flatpak"}}, "flatpak org.x"),
    ],
)
def test_the_place_is_the_most_specific_that_is_known(facts, expected):
    assert rows(**facts)["where"] == expected


def test_the_place_and_time_are_left_out_if_they_are_not_known():
    assert list(rows()) == ["process"]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "2026-11-28 09:00:01.007 UTC"),
        ({"process__creation__time": "2026-11-28T09:00:00Z"}, "2026-11-28 09:00:01.007 UTC, 1.0 s after it started"),
        ({"process__creation__time": "2026-11-28T09:00:02Z"}, "2026-11-28 09:00:01.007 UTC"),
        ({"event": "oom_exit", "exit__after_us": 9531}, "2026-11-28 09:00:01.007 UTC, 9.5 ms after SIGKILL"),
        ({"exit__after_us": 9531}, "2026-11-28 09:00:01.007 UTC"),
    ],
)
def test_the_time_is_stated_with_the_length_of_the_life(facts, expected):
    assert rows(time="2026-11-28T09:00:01.007999Z", **facts)["when"] == expected
