# SPDX-License-Identifier: Apache-2.0
"""What the path of a cgroup says about a process in it: container, pod, unit, scheduler, application. Pure.

The path is read from the root inwards, for what a component means depends on those before it. systemd manages slices
and units only down to the first unit; below that, names are chosen by the program that manages the cgroups. A container
and a user's own systemd (user@UID.service) start a tree of the same kind again. docs/identity.md has the shapes, and
what can be forged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from ooMtrace.enrich import cgroup_names as names
from ooMtrace.enrich.cgroup_names import unescape
from ooMtrace.enrich.cgroup_schedulers import SchedulerPath
from ooMtrace.record import Application, Container, Kubernetes, LimitOwner, OuterContainer, Pod, Scheduler, Systemd
from ooMtrace.record.identity import QosClass, UnitManager

MAX_NAME = 255
"""NAME_MAX of cgroup directories."""

MAX_PARENTS = 8

DELETED = " (deleted)"
"""/proc/PID/cgroup appends it if the cgroup has been removed (proc_cgroup_show() in kernel/cgroup/cgroup.c)."""

QOS_CLASSES: dict[str, QosClass] = {"burstable": "burstable", "besteffort": "besteffort"}


@dataclass(frozen=True, slots=True)
class CgroupIdentity:
    """What a path says.

    Attributes:
        owner: What the cgroup itself is, as opposed to what it is in.
    """

    owner: LimitOwner = "node"
    container: Container | None = None
    k8s: Kubernetes | None = None
    systemd: Systemd | None = None
    scheduler: Scheduler | None = None
    application: Application | None = None


@lru_cache(maxsize=64)  # a storm kills in the same few cgroups, and a path has at most 4 KiB
def parse_cgroup_path(path: str | bytes) -> CgroupIdentity:
    """Return what a path says.

    A path that begins with `/..` was read in a cgroup namespace and begins anywhere: its root may be a user's.
    """
    text = path if isinstance(path, str) else path.decode("utf-8", "backslashreplace")
    walk = _Walk(from_root=not text.startswith("/.."))
    for name in text.removesuffix(DELETED).split("/"):
        if name not in ("", ".", ".."):
            walk.enter(name if len(name) <= MAX_NAME else "")
    return walk.identity()


class _Walk:
    """The components of a path, from the root inwards."""

    def __init__(self, *, from_root: bool) -> None:
        self._previous, self._before_previous = "", ""
        self._owner: LimitOwner = "node" if from_root else "cgroup"
        self._depth = 0  # components since the root or the last container
        self._containers: list[Container] = []
        self._podman_pod: str | None = None
        self._pod: str | None = None
        self._qos: QosClass | None = None
        self._units = _Units("system" if from_root else None)
        self._scheduler = SchedulerPath()
        self._application: Application | None = None

    def enter(self, name: str) -> None:
        """Take the next component."""
        unit = self._units.enter(name, at_start=self._depth == 0)
        scheduled = None
        if not self._units.in_user_manager:
            scheduled = self._scheduler.enter(name, self._previous, self._depth, is_unit=unit == "unit")
        kubernetes = self._kubernetes(name)
        self._find_application(name, is_unit=unit == "unit")
        if self._is_podman_pod(name):
            kubernetes = "pod"
        else:
            container = self._container(name)
            if container is not None:
                self._enter_container(name, container)
                return
        is_part = self._owner == "container" and name in names.SUBGROUPS
        owner = kubernetes or scheduled or unit or ("container" if is_part else "cgroup")
        self._advance(name, owner, self._depth + 1)

    def identity(self) -> CgroupIdentity:
        """Return what the components so far say."""
        return CgroupIdentity(
            owner=self._owner,
            container=self._innermost(),
            k8s=None if self._pod is None else Kubernetes(pod=Pod(uid=self._pod), qos=self._qos),
            systemd=self._units.systemd(),
            scheduler=self._scheduler.found,
            application=self._application,
        )

    def _innermost(self) -> Container | None:
        if not self._containers:
            return None
        *outer, container = self._containers
        parents = tuple(OuterContainer(id=parent.id, runtime=parent.runtime) for parent in outer[:MAX_PARENTS])
        return replace(container, parents=parents or None)

    def _enter_container(self, name: str, container: Container) -> None:
        self._containers.append(container)
        self._units.enter_container()
        self._advance(name, "container", 0)

    def _advance(self, name: str, owner: LimitOwner, depth: int) -> None:
        self._before_previous, self._previous = self._previous, name
        self._owner, self._depth = owner, depth

    def _kubernetes(self, name: str) -> LimitOwner | None:
        found = names.POD_SLICE.fullmatch(name)
        if found:
            self._pod, self._qos = found["uid"].replace("_", "-"), QOS_CLASSES.get(found["qos"] or "", "guaranteed")
            return "pod"
        if self._owner in ("kubepods", "qos") and (found := names.POD_CGROUP.fullmatch(name)):
            self._pod = found["uid"].replace("_", "-")
            self._qos = QOS_CLASSES.get(self._previous, "guaranteed")
            return "pod"
        if names.QOS_SLICE.fullmatch(name) or (self._owner == "kubepods" and name in QOS_CLASSES):
            return "qos"
        return "kubepods" if names.KUBEPODS.fullmatch(name) else None

    def _is_podman_pod(self, name: str) -> bool:
        found = names.PODMAN_POD.fullmatch(name)
        if found:
            self._podman_pod = found["id"]
        elif self._previous == "libpod_parent" and re.fullmatch(names.HEX64, name):
            self._podman_pod = name
        else:
            return False
        return True

    def _container(self, name: str) -> Container | None:
        if names.MONITOR.fullmatch(name):
            return None
        found = names.CONTAINER.fullmatch(name)
        if found:
            return self._with_64_digits(found)
        return self._lxc(name) or self._by_name(name)

    def _with_64_digits(self, found: re.Match[str]) -> Container:
        runtime = names.RUNTIMES.get(found["prefix"] or "")
        if not found["prefix"]:
            is_ecs = self._scheduler.found is not None and self._scheduler.found.system == "ecs"
            runtime = "docker" if is_ecs else names.PARENTS.get(self._previous)
        pod = self._podman_pod if runtime == "podman" and self._owner == "pod" else None
        return Container(id=found["id"], runtime=runtime, pod=pod)

    def _lxc(self, name: str) -> Container | None:
        found = names.LXC.fullmatch(name)
        if self._previous == "lxc.payload" or (self._previous == "lxc" and self._depth == 1):
            found = found or names.LXC_NAME.fullmatch(name)
        if not found:
            return None
        id_ = found["name"] if "name" in found.groupdict() else name
        split = names.LXC_PROJECT.fullmatch(id_)
        return Container(
            id=id_, runtime="lxc", name=split["name"] if split else id_, project=split["project"] if split else None
        )

    def _by_name(self, name: str) -> Container | None:
        """Recognize containers that have neither 64 digits nor a name of LXC's."""
        previous = self._previous
        if nspawn := names.NSPAWN.fullmatch(name):
            if previous == "machine.slice":
                machine = unescape(nspawn["name"])
                return Container(id=machine, runtime="systemd-nspawn", name=machine)
        elif fargate := names.FARGATE.fullmatch(name):
            return Container(id=name, runtime="fargate") if fargate["task"] == previous else None
        elif names.GARDEN.fullmatch(name):
            return Container(id=name, runtime="garden")
        elif previous == "buildkit" and self._before_previous == "docker" and names.BUILDKIT_ID.fullmatch(name):
            return Container(id=name, runtime="buildkit")
        elif self._is_at_top():
            return self._at_top(name)
        return None

    def _at_top(self, name: str) -> Container | None:
        """Recognize runtimes that put containers with any name directly below a cgroup of their own."""
        if self._previous in names.CONTAINERD_NAMESPACES and names.CONTAINERD_ID.fullmatch(name):
            return Container(id=name, runtime="containerd")
        if names.FIRECRACKER_PARENT.fullmatch(self._previous) and names.FIRECRACKER_ID.fullmatch(name):
            return Container(id=name, runtime="firecracker")
        return None

    def _find_application(self, name: str, *, is_unit: bool) -> None:
        if is_unit:
            if snap := names.SNAP.fullmatch(name):
                self._application = Application(kind="snap", id=snap["id"])
            elif flatpak := names.FLATPAK.fullmatch(name):
                self._application = Application(kind="flatpak", id=unescape(flatpak["id"]))
        elif self._is_at_top() and self._previous in names.TALOS_PARENTS and names.TALOS_SERVICE.fullmatch(name):
            self._application = Application(kind="talos", id=name)

    def _is_at_top(self) -> bool:
        """Say whether the component is directly below one at the root, where only the host's root makes cgroups."""
        return self._depth == 1 and not self._containers


class _Units:
    """The slices and units of systemd: of the host's, of a user's or of one in a container.

    Attributes:
        in_user_manager: Whether a user chooses the names from here on, also those in the user's containers.
    """

    def __init__(self, manager: UnitManager | None) -> None:
        self._manager = manager
        self._in_slices = True
        self._slices: list[str] = []
        self._found = Systemd()
        self.in_user_manager = False

    def enter(self, name: str, *, at_start: bool) -> LimitOwner | None:
        """Take the next component; at the start of a container's tree, the runtime's own cgroup may precede it."""
        if not self._in_slices or (at_start and self._manager == "container" and name in names.SUBGROUPS):
            return None
        if names.SLICE.fullmatch(name):
            self._enter_slice(name)
            return "slice"
        self._in_slices = False
        unit = names.UNIT.fullmatch(name.removeprefix("_"))  # systemd's cg_escape() prepends it
        if not unit:
            return None
        self._enter_unit(unit["name"])
        return "unit"

    def enter_container(self) -> None:
        """Expect the slices and units of a systemd in the container."""
        self._manager, self._in_slices, self._slices = "container", True, []

    def systemd(self) -> Systemd | None:
        """Return what was found; None if nothing was."""
        return None if self._found == Systemd() else self._found

    def _enter_slice(self, name: str) -> None:
        self._slices.append(name)
        if self._manager in ("system", None):
            is_user = self._manager == "system" and self._slices[:-1] == ["user.slice"]
            user = names.USER_SLICE.fullmatch(name) if is_user else None
            uid = int(user["uid"]) if user else self._found.user
            self._found = Systemd(slice=name, user=uid)

    def _enter_unit(self, unit: str) -> None:
        session = names.SESSION.fullmatch(unit) if self._is_of_user() else None
        self._found = replace(
            self._found,
            unit=unit,
            slice=self._slices[-1] if self._slices else None,
            manager=self._manager,
            session=session["id"] if session else self._found.session,
        )
        if self._is_of_user() and names.USER_MANAGER.fullmatch(unit):
            self._manager, self._in_slices, self._slices = "user", True, []
            self.in_user_manager = True

    def _is_of_user(self) -> bool:
        return self._manager == "system" and self._found.user is not None
