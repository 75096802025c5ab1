# SPDX-License-Identifier: Apache-2.0
"""What the path of a cgroup says: every shape in docs/identity.md, what cannot be forged, and any path at all."""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ooMtrace.enrich.cgroup_identity import CgroupIdentity, parse_cgroup_path
from ooMtrace.enrich.cgroup_names import MONITOR, unescape
from ooMtrace.output.encode import plain
from ooMtrace.record import Container, OuterContainer

DOC = Path(__file__).parents[3] / "docs/identity.md"
ID, OUTER, HASH = "a1" * 32, "b2" * 32, "c3" * 16
UID = "11111111-2222-3333-4444-555555555555"
PLACEHOLDERS = {"<id>": ID, "<outer>": OUTER, "<hash>": HASH, "<uid>": UID, "<uid_>": UID.replace("-", "_")}
ROW = re.compile(
    r"^\| (?P<what>[^|]+) \| `(?P<path>/[^|]*)` \| `(?P<owner>\w+)` \|(?: `(?P<facts>[^|]+)`)? \|$", re.MULTILINE
)


def filled(text: str) -> str:
    for name, value in PLACEHOLDERS.items():
        text = text.replace(name, value)
    return text


ROWS = [
    (row["what"], filled(row["path"]), row["owner"], filled(row["facts"] or ""))
    for row in ROW.finditer(DOC.read_text())
]
SHAPES = [pytest.param(*row, id=what) for what, *row in ROWS]
FROM_ROOT = [pytest.param(*row, id=what) for what, *row in ROWS if not row[0].startswith("/..")]


def facts(part: Any, prefix: str = "") -> Iterator[str]:
    """Yield `name=value` of each fact, of a list of containers their ids and runtimes."""
    for name, value in part.items():
        if isinstance(value, dict):
            yield from facts(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}=" + ", ".join(" ".join(item.values()) for item in value)
        else:
            yield f"{prefix}{name}={value}"


def stated(identity: CgroupIdentity) -> str:
    parts = plain(identity)
    del parts["owner"]
    return " ".join(facts(parts))


def test_the_table_has_all_shapes():
    table = DOC.read_text().partition("## Shapes")[2]

    assert len(SHAPES) == len(re.findall(r"^\| .*`/", table, re.MULTILINE)) >= 75


@pytest.mark.parametrize(("path", "owner", "said"), SHAPES)
def test_every_shape_in_the_documentation_is_parsed_as_stated_there(path, owner, said):
    """container, k8s (pod, uid, qos), systemd (slice, user, session, manager), scheduler (step), application."""
    found = parse_cgroup_path(path)

    assert found.owner == owner
    assert stated(found) == said


@pytest.mark.parametrize(("path", "owner", "said"), SHAPES)
def test_bytes_and_removed_cgroups_are_parsed_alike(path, owner, said):
    found = parse_cgroup_path(path)

    assert parse_cgroup_path(path.encode()) == found
    assert parse_cgroup_path(path.removesuffix(" (deleted)") + " (deleted)") == found


@pytest.mark.parametrize(("path", "owner", "said"), FROM_ROOT)
@pytest.mark.parametrize("around", [f"/docker/{OUTER}", f"/system.slice/docker-{OUTER}.scope", "/lxc.payload.outside"])
def test_in_another_container_the_innermost_is_named_and_the_outer_ones_are_kept(around, path, owner, said):
    """Any shape in a container: its own container is the same, and the outer one comes first among the parents."""
    alone, nested = parse_cgroup_path(path), parse_cgroup_path(around + path)
    outer = parse_cgroup_path(around).container

    assert outer is not None
    assert nested.k8s == alone.k8s
    assert nested.container is not None
    if alone.container is None or path.startswith(("/default/web", "/firecracker")):  # recognized at the top only
        assert (nested.container.id, nested.container.parents) == (outer.id, None)
    else:
        assert nested.container.id == alone.container.id
        assert nested.container.parents == (
            OuterContainer(id=outer.id, runtime=outer.runtime),
            *(alone.container.parents or ()),
        )


@pytest.mark.parametrize("runtime", ["crio", "libpod"])
@pytest.mark.parametrize("form", ["{}-conmon-{}", "{}-conmon-{}.scope", "a.slice:{}-conmon:{}", "{}:conmon:{}"])
def test_conmon_is_in_no_container_but_in_the_one_around_it(runtime, form):
    name = form.format(runtime, ID)
    in_node = parse_cgroup_path(f"/docker/{OUTER}/x/{name}")

    assert parse_cgroup_path(f"/machine.slice/{name}").container is None
    assert in_node.container == Container(id=OUTER, runtime="docker")


FORGED = [
    ("/system.slice/web.service/sshd.service", "systemd.unit=web.service"),
    ("/system.slice/web.service/user.slice/user-0.slice/session-1.scope", "systemd.unit=web.service"),
    ("/system.slice/web.service/slurmstepd.scope/job_1/step_0", "systemd.unit=web.service"),
    ("/user.slice/user-1000.slice/user@1000.service/user.slice/user-0.slice/session-1.scope", "systemd.user=1000"),
    ("/user.slice/user-1000.slice/user@1000.service/x.slice/user@0.service/a.service", "systemd.user=1000"),
    (f"/docker/{ID}/user.slice/user-0.slice/session-1.scope", "systemd.manager=container"),
    (f"/user.slice/user-1000.slice/user@1000.service/docker-{ID}.scope/a.service", "systemd.user=1000"),
]


@pytest.mark.parametrize(("path", "fact"), FORGED)
def test_names_below_a_unit_or_in_a_container_give_no_other_unit_user_or_session_of_the_host(path, fact):
    said = stated(parse_cgroup_path(path)).split()

    assert fact in said
    assert "systemd.user=0" not in said
    assert not [each for each in said if each.startswith(("systemd.session", "scheduler"))]


@pytest.mark.parametrize(
    "below",
    [
        "slurm/uid_0/job_1/step_0",
        "slurmstepd.scope/job_1",
        "htcondor/slot1@host",
        f"nomad/{UID}.task",
        f"ecstasks-{HASH}.slice",
        f"docker-{ID}.scope/slurm/uid_0/job_1",
    ],
)
def test_a_user_cannot_forge_a_batch_job(below):
    assert parse_cgroup_path(f"/user.slice/user-1000.slice/user@1000.service/{below}").scheduler is None


@pytest.mark.parametrize(
    "path",
    [
        f"/docker/{ID[:-1]}",
        f"/docker/{ID}0",
        f"/docker/{ID.upper()}",
        f"/docker/{ID}.service",
        f"/system.slice/docker-{ID}.mount",
        f"/system.slice/var-lib-docker-overlay2-{ID}-merged.mount",
        f"/a/pod{UID}",
        f"/kubepods/x/pod{UID}",
        f"/kubepods/burstable/pod{UID}0",
        "/jobs/lxc/web",
        "/jobs/default/web",
        "/jobs/firecracker/vm",
        "/lxc.payload.",
        "/lxc.payload.a\x1b[31m",
        "/lxc.payload.a\udcff",
        "/machine.slice/a/systemd-nspawn@web.service",
        f"/ecs/{HASH}/{'d4' * 16}-123",
        "/docker/buildkit/no",
        "/docker/a/buildkit/k3v9x1qz7p4m2n8b6c5d0f1ga",
    ],
)
def test_what_only_looks_like_a_container_or_pod_is_none(path):
    found = parse_cgroup_path(path)

    assert found.container is None
    assert found.k8s is None


@pytest.mark.parametrize(
    ("name", "project", "container"),
    [
        ("web", None, "web"),
        ("shop_web", "shop", "web"),
        ("web_1", None, "web_1"),
        ("a_b_c", None, "a_b_c"),
        ("_web", None, "_web"),
    ],
)
def test_the_project_of_an_incus_container_precedes_its_name(name, project, container):
    found = parse_cgroup_path(f"/lxc.payload.{name}").container

    assert found == Container(id=name, runtime="lxc", name=container, project=project)


def test_escapes_of_printable_characters_are_decoded_and_no_others():
    assert unescape(r"a\x2db\x5cx2d\x1b\xff\x2") == r"a-b\x2d\x1b\xff\x2"


MONITORED = "e5" * 32
"""A container of which the random paths have only the monitor."""

NAMES = [
    *(name for _, path, *_ in ROWS for name in path.split("/")),
    f"conmon-{MONITORED}",
    f"crio-conmon-{MONITORED}",
    f"libpod-conmon-{MONITORED}.scope",
    "lxc.monitor.web",
    "..",
    "pod",
    "slice",
    ".slice",
    "user@.service",
    "a:b:c",
]


def random_path(source: random.Random) -> str | bytes:
    """Return components of real paths, damaged or not, and bytes of any kind."""
    parts: list[bytes] = []
    for _ in range(source.randrange(9)):
        part = bytearray(source.choice(NAMES).encode())
        for _ in range(source.choice((0, 0, 0, 1, 2))):
            at = source.randrange(len(part) + 1)
            part[at : at + source.randrange(3)] = source.randbytes(source.randrange(4))
        parts.append(source.randbytes(source.randrange(20)) if source.random() < 0.1 else bytes(part))
    path = b"/" + b"/".join(parts)
    return path if source.random() < 0.5 else path.decode("utf-8", "surrogateescape")


def test_100_000_random_paths_raise_nothing_and_never_give_conmon():
    source, containers, pods = random.Random(16), 0, 0
    for _ in range(100_000):
        path = random_path(source)
        found = parse_cgroup_path(path)
        plain_facts = stated(found)
        plain_facts.encode()
        assert plain_facts.isprintable(), path
        containers += found.container is not None
        if found.container and found.container.id == MONITORED:  # then its conmon's name was damaged
            text = path.decode("utf-8", "backslashreplace") if isinstance(path, bytes) else path
            assert any(MONITORED in name and not MONITOR.fullmatch(name) for name in text.split("/")), path
        pods += found.k8s is not None

    assert containers > 10_000
    assert pods > 1_000


LONG = {
    "components": "/a" * 2048,
    "slices": "/a.slice" * 512,
    "containers": f"/docker/{ID}" * 56,
    "pods": f"/kubepods/pod{UID}" * 75,
    "one component": "/" + "a-" * 2048,
    "dashes": "/" + "/".join(["a-" * 127] * 16),
    "colons": "/" + "/".join(["a:" * 127] * 16),
    "underscores": "/" + "/".join(["_slot1@a" * 31] * 16),
    "conmon": "/" + "/".join(["-conmon" * 36] * 16),
    "kubepods": "/" + "/".join(["kubepods-" * 28] * 16),
    "escapes": "/lxc/" + "/".join([r"\x2d" * 63] * 16),
    "dots": "/.." * 1365,
    "units": "/" + "/".join(["a.service." * 25] * 16),
    "flatpak": "/" + "/".join(["app-flatpak-" + "-1" * 100 + ".scope"] * 16),
}


@pytest.mark.parametrize("name", LONG)
def test_a_path_of_4_kib_takes_little_time_and_gives_a_bounded_answer(name):
    parse_cgroup_path.cache_clear()
    begin = time.process_time()
    found = parse_cgroup_path(LONG[name])

    assert time.process_time() - begin < 0.2  # it takes one to five milliseconds
    assert len(stated(found)) < 2048


@pytest.mark.parametrize("component", ["/a", f"/docker/{ID}", "/a.slice", f"/kubepods/burstable/pod{UID}/{ID}"])
def test_the_work_grows_with_the_number_of_components_and_no_faster(component):
    few, many = calls(component * 100), calls(component * 400)

    assert many <= 4.1 * few


def calls(path: str) -> int:
    """Return how many functions are called, those of the regular expressions and lists included."""
    count = 0

    def counted(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    parse_cgroup_path.cache_clear()
    sys.setprofile(counted)
    try:
        parse_cgroup_path(path)
    finally:
        sys.setprofile(None)
    return count


def test_of_many_nested_containers_eight_parents_are_kept():
    path = "".join(f"/docker/{number:064x}" for number in range(12))
    container = parse_cgroup_path(path).container

    assert container is not None
    assert container.id == f"{11:064x}"
    assert container.parents == tuple(OuterContainer(id=f"{number:064x}", runtime="docker") for number in range(8))
