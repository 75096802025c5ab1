# SPDX-License-Identifier: Apache-2.0
"""Adds what the host knows of a systemd unit beside its name: the invocation, and what an OOM kill does to it."""

from __future__ import annotations

import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ooMtrace.enrich import Enricher
from ooMtrace.enrich.cgroup_identity import parse_cgroup_path
from ooMtrace.enrich.systemd_unit import read_oom_policy
from ooMtrace.enrich.timebox import TimeBoxedWorker
from ooMtrace.record import OomKill, Systemd
from ooMtrace.record.identity import OomPolicy

TIMEOUT_S = 0.05
"""A kill waits this long: reading takes less than a millisecond, unless the disk is slow."""

MAX_UNITS = 256

LIFETIME_S = 10.0
"""How long the policy of a unit is kept: a storm kills in the same few units, and files change rarely."""

INVOCATION_ID = re.compile("[0-9a-f]{32}")
ATTRIBUTES = ("trusted.invocation_id", "user.invocation_id")
"""Set by systemd on the cgroup of a unit (cgroup_xattr_apply()); the second in newer versions only."""

UNIFIED = 2


class UnitReader:
    """Reads what is known of units, in a thread: a slow disk delays a kill by no more than the timeout.

    Args:
        root: The host's file system.
        unified: Mount point of the version 2 hierarchy; None if it is not mounted.
        timeout_s: How long the methods wait, in seconds.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        root: Path,
        unified: Path | None,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = root
        self._unified = unified
        self._clock = clock
        self._policies: OrderedDict[str, tuple[float, OomPolicy | None]] = OrderedDict()
        self._worker = TimeBoxedWorker("units", timeout_s)

    def oom_policy(self, unit: str) -> OomPolicy | None:
        """Return OOMPolicy= of a unit; None if it is not certain. Each is read once in ten seconds."""
        now = self._clock()
        found = self._policies.get(unit)
        if found is None or now - found[0] > LIFETIME_S:
            self._policies.pop(unit, None)
            self._worker.run(lambda: self._read_policy(unit, now))
            found = self._policies.get(unit)
        return found[1] if found else None

    def invocation_id(self, kill: OomKill, unit: str) -> str | None:
        """Return the invocation id on the unit's cgroup; None if it cannot be read, or is not certain."""
        part = kill.cgroup if kill.cgroup is None or kill.cgroup.version == UNIFIED else kill.cgroup.v2
        if self._unified is None or part is None or part.path is None or part.id is None:
            return None
        return read_invocation_id(self._unified, part.path, part.id, unit)  # from the kernel's memory, not from a disk

    def _read_policy(self, unit: str, now: float) -> None:
        self._policies[unit] = (now, read_oom_policy(unit, self._root))
        while len(self._policies) > MAX_UNITS:
            self._policies.popitem(last=False)


def add_unit_facts(units: UnitReader) -> Enricher:
    """Return an enricher that adds facts of a unit of the host's systemd; it comes after the unit's name."""

    def enrich(kill: OomKill) -> OomKill:
        systemd = kill.systemd
        if systemd is None or systemd.unit is None or systemd.manager != "system":
            return kill
        kill = _with_invocation(kill, systemd, units.invocation_id(kill, systemd.unit))
        policy = units.oom_policy(systemd.unit)
        return kill if policy is None else _with_policy(kill, systemd.unit, policy)

    return enrich


def _with_policy(kill: OomKill, unit: str, policy: OomPolicy) -> OomKill:
    version = kill.cgroup.version if kill.cgroup else None
    stops = None if version is None or kill.event == "oom_dying" else policy != "continue" and version == UNIFIED
    facts = replace(kill.systemd or Systemd(), oom_policy=policy, stops_unit=stops)
    group = kill.oom.group
    if group is None or group.path is None or policy != "kill" or not _is_unit(group.path, unit):
        return replace(kill, systemd=facts)
    oom = replace(kill.oom, group=replace(group, set_by="systemd"))
    return replace(kill, systemd=facts, oom=oom, derived=(*kill.derived, "oom.group.set_by"))


def _is_unit(path: str, unit: str) -> bool:
    found = parse_cgroup_path(path)
    return found.owner == "unit" and found.systemd is not None and found.systemd.unit == unit


def _with_invocation(kill: OomKill, systemd: Systemd, found: str | None) -> OomKill:
    """Add the id that was read; without one, that in the environment that a service was started with."""
    if found is not None:
        return replace(kill, systemd=replace(systemd, invocation_id=found))
    value = (kill.process.environment or {}).get("INVOCATION_ID")
    # In a session or another scope it is that of the service which opened it.
    if value is None or not INVOCATION_ID.fullmatch(value) or not (systemd.unit or "").endswith(".service"):
        return kill
    facts = replace(systemd, invocation_id=value)
    return replace(kill, systemd=facts, derived=(*kill.derived, "systemd.invocation_id"))


def read_invocation_id(mount: Path, path: str, id_: str, unit: str) -> str | None:
    """Return the invocation id on the cgroup of a unit.

    None if there is none, or if the victim's cgroup is no longer the same directory: systemd may have started the unit
    again, in a new one.

    Args:
        mount: Mount point of the version 2 hierarchy.
        path: The victim's cgroup, from the root of the hierarchy.
        id_: Inode number of the victim's cgroup at the kill.
        unit: The unit that the cgroup is, or is below.
    """
    names = path.strip("/").split("/")
    # systemd's cg_escape() prepends an underscore to names that the kernel uses, too.
    depth = next((nth for nth, name in enumerate(names, 1) if name.removeprefix("_") == unit), None)
    if depth is None or ".." in names:
        return None
    directory = mount.joinpath(*names[:depth])
    try:
        # The directory's owner may set `user.` attributes: for user@UID.service, that is the user.
        readable = ATTRIBUTES if directory.stat().st_uid == 0 else ATTRIBUTES[:1]
        found = next((value for name in readable if (value := _attribute(directory, name))), None)
        # Last: if the victim's cgroup still is that directory, so was the unit's until now.
        is_same = str(mount.joinpath(*names).stat().st_ino) == id_
    except OSError:  # the cgroup has been removed
        return None
    return found if is_same else None


def _attribute(directory: Path, name: str) -> str | None:
    try:
        text = os.getxattr(directory, name).decode("ascii", "replace")
    except OSError:  # not set, or the capability for `trusted.` is missing
        return None
    return text if INVOCATION_ID.fullmatch(text) else None
