# SPDX-License-Identifier: Apache-2.0
"""Facts of units: which invocation it was, and what an OOM kill does to the unit."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.enrich.identity import add_identity
from ooMtrace.enrich.unit_facts import LIFETIME_S, MAX_UNITS, UnitReader, add_unit_facts, read_invocation_id
from ooMtrace.output.encode import plain
from ooMtrace.record import OomKill

UNIT = "/system.slice/web.service"
INVOCATION = "0123456789abcdef0123456789abcdef"


def write(root: Path, policy: str, unit: str = "web.service") -> Path:
    path = root / "etc/systemd/system" / unit
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[Service]\nOOMPolicy={policy}\n")
    return path


def victim(path: str = UNIT, *, version: int = 2, **changes: Any) -> OomKill:
    return add_identity()(kill(**{"cgroup": record.Cgroup(path=path, version=version), **changes}))


def systemd(root: Path, event: OomKill, unified: Path | None = None) -> dict[str, Any]:
    facts: dict[str, Any] = plain(add_unit_facts(UnitReader(root, unified, 10))(event))["systemd"]
    return facts


def invoke(mount: Path, path: str = UNIT, value: str = INVOCATION) -> str:
    """Make a cgroup's directory with an invocation id, as systemd does; return its inode number."""
    directory = mount / path.strip("/")
    directory.mkdir(parents=True, exist_ok=True)
    name = "trusted.invocation_id" if os.getuid() == 0 else "user.invocation_id"
    try:
        os.setxattr(directory, name, value.encode())
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
            raise
        pytest.skip("this file system has no extended attributes")
    return str(directory.stat().st_ino)


@pytest.mark.parametrize(
    ("policy", "version", "stops"),
    [
        ("stop", 2, True),
        ("kill", 2, True),
        ("continue", 2, False),
        ("stop", 1, False),
        ("kill", 1, False),
    ],
)
def test_a_unit_has_its_policy_and_whether_it_is_stopped(tmp_path, policy, version, stops):
    """systemd learns of the kill from memory.events, which version 1 does not have for it."""
    write(tmp_path, policy)
    facts = systemd(tmp_path, victim(version=version))

    assert (facts["oom_policy"], facts["stops_unit"]) == (policy, stops)


def test_without_a_certain_policy_nothing_is_stated(tmp_path):
    assert {"oom_policy", "stops_unit"}.isdisjoint(systemd(tmp_path, victim()))


def test_a_process_that_was_dying_already_stops_no_unit(tmp_path):
    write(tmp_path, "stop")

    assert "stops_unit" not in systemd(tmp_path, victim(event="oom_dying"))


@pytest.mark.parametrize(
    "path",
    [
        "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service",
        "/lxc.payload.web/system.slice/web.service",
        "/../system.slice/web.service",
        "/system.slice",
    ],
)
def test_a_unit_of_another_systemd_has_no_facts_of_the_hosts(tmp_path, path):
    write(tmp_path, "kill")
    environment = {"INVOCATION_ID": INVOCATION}
    event = victim(path, process=record.Process(pid=7, environment=environment))

    assert add_unit_facts(UnitReader(tmp_path, tmp_path))(event) == event


@pytest.mark.parametrize(
    ("policy", "group", "origin"),
    [
        ("kill", UNIT, "systemd"),
        ("stop", UNIT, None),
        ("kill", f"{UNIT}/workers", None),
        ("kill", "/system.slice", None),
    ],
)
def test_a_group_kill_is_that_of_systemd_if_the_unit_is_the_group_and_says_so(tmp_path, policy, group, origin):
    write(tmp_path, policy)
    oom = record.Oom(incident="1", group=record.Group(path=group, size=2))
    found = add_unit_facts(UnitReader(tmp_path, None, 10))(victim(oom=oom))

    assert found.oom.group == record.Group(path=group, size=2, set_by=origin)
    assert found.derived == (("oom.group.set_by",) if origin else ())


@pytest.mark.parametrize("below", ["", "/workers", "/a/b"])
def test_the_invocation_is_the_one_on_the_units_cgroup(tmp_path, below):
    invoke(tmp_path)
    (tmp_path / (UNIT + below).strip("/")).mkdir(parents=True, exist_ok=True)
    inode = str((tmp_path / (UNIT + below).strip("/")).stat().st_ino)
    event = victim(cgroup=record.Cgroup(path=UNIT + below, version=2, id=inode))

    assert systemd(tmp_path, event, tmp_path)["invocation_id"] == INVOCATION


def test_on_a_host_with_both_versions_it_is_the_one_in_version_2(tmp_path):
    inode = invoke(tmp_path)
    cgroup = record.Cgroup(path="/", id="1", version=1, v2=record.UnifiedCgroup(path=UNIT, id=inode))

    assert systemd(tmp_path, victim(cgroup=cgroup), tmp_path)["invocation_id"] == INVOCATION


def test_if_the_unit_was_started_again_its_invocation_is_not_that_of_the_victim(tmp_path):
    inode = invoke(tmp_path)

    assert read_invocation_id(tmp_path, UNIT, str(int(inode) + 1), "web.service") is None
    assert read_invocation_id(tmp_path, f"{UNIT}/gone", inode, "web.service") is None
    assert read_invocation_id(tmp_path, UNIT, inode, "web.service") == INVOCATION


@pytest.mark.parametrize("path", ["/system.slice/../web.service", "/", "/system.slice"])
def test_only_the_units_own_cgroup_is_read(tmp_path, path):
    inode = invoke(tmp_path, "/system.slice")

    assert read_invocation_id(tmp_path, path, inode, "web.service") is None


def test_a_cgroup_whose_name_the_kernel_uses_too_has_an_underscore(tmp_path):
    inode = invoke(tmp_path, "/system.slice/_memory.service")

    assert read_invocation_id(tmp_path, "/system.slice/_memory.service", inode, "memory.service") == INVOCATION


@pytest.mark.parametrize("value", ["", "x" * 32, INVOCATION.upper() + "A", INVOCATION[:-1]])
def test_what_is_no_id_is_not_used(tmp_path, value):
    inode = invoke(tmp_path, value=value)

    assert read_invocation_id(tmp_path, UNIT, inode, "web.service") is None


@pytest.mark.skipif(os.getuid() != 0, reason="gives a directory to another user")
def test_the_owner_of_a_delegated_cgroup_cannot_choose_the_invocation(tmp_path):
    directory = tmp_path / UNIT.strip("/")
    directory.mkdir(parents=True)
    try:
        os.setxattr(directory, "user.invocation_id", INVOCATION.encode())
    except OSError:
        pytest.skip("this file system has no attributes of users")
    inode = str(directory.stat().st_ino)
    assert read_invocation_id(tmp_path, UNIT, inode, "web.service") == INVOCATION

    os.chown(directory, 65534, 65534)
    assert read_invocation_id(tmp_path, UNIT, inode, "web.service") is None


def in_environment(value: str, path: str = UNIT) -> OomKill:
    return victim(path, process=record.Process(pid=7, environment={"INVOCATION_ID": value}))


def test_without_a_cgroup_it_is_that_of_a_services_environment(tmp_path):
    found = add_unit_facts(UnitReader(tmp_path, None))(in_environment(INVOCATION))

    assert plain(found)["systemd"]["invocation_id"] == INVOCATION
    assert found.derived == ("systemd.invocation_id",)


def test_the_cgroup_takes_precedence_over_the_environment(tmp_path):
    inode = invoke(tmp_path)
    event = replace(in_environment("f" * 32), cgroup=record.Cgroup(path=UNIT, version=2, id=inode))
    found = add_unit_facts(UnitReader(tmp_path, tmp_path, 10))(event)

    assert plain(found)["systemd"]["invocation_id"] == INVOCATION
    assert found.derived == ()


@pytest.mark.parametrize(
    ("value", "path"),
    [("x", UNIT), ("********", UNIT), (INVOCATION, "/user.slice/user-1000.slice/session-3.scope")],
)
def test_a_value_that_is_none_or_that_a_session_inherited_is_not_used(tmp_path, value, path):
    """cron.service opens sessions for its jobs, and they have its variable."""
    assert "invocation_id" not in systemd(tmp_path, in_environment(value, path))


def test_a_policy_is_read_again_after_its_lifetime(tmp_path):
    now = [0.0]
    units = UnitReader(tmp_path, None, 10, lambda: now[0])
    write(tmp_path, "kill")
    assert units.oom_policy("web.service") == "kill"

    write(tmp_path, "continue")
    now[0] += LIFETIME_S - 1
    assert units.oom_policy("web.service") == "kill"

    now[0] += 2
    assert units.oom_policy("web.service") == "continue"


def test_a_file_system_that_hangs_delays_a_kill_by_no_more_than_the_timeout(tmp_path, monkeypatch):
    hangs = True

    def hang(*_: Any) -> None:
        while hangs:
            time.sleep(0.01)

    monkeypatch.setattr("ooMtrace.enrich.unit_facts.read_oom_policy", hang)
    begin = time.monotonic()
    units = UnitReader(tmp_path, None, 0.05)

    assert [units.oom_policy(f"{number}.service") for number in range(100)] == [None] * 100
    assert time.monotonic() - begin < 5
    hangs = False


def test_a_bounded_number_of_units_is_kept(tmp_path):
    units = UnitReader(tmp_path, None, 10)
    for number in range(MAX_UNITS + 5):
        units.oom_policy(f"{number}.service")

    assert len(units._policies) == MAX_UNITS
