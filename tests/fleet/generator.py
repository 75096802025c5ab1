# SPDX-License-Identifier: Apache-2.0
"""The lines of a fleet, a million in seconds, and what is true of them.

The truth is kept as plain Python values while the lines are written; it does not come from the lines.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

MIB = 1 << 20
SECOND = 1_000_000
DAY = 86400
DAYS = 30
NODES = 2000
MINUTES = [
    f"2026-11-{day:02d}T{hour:02d}:{minute:02d}" for day in range(1, 31) for hour in range(24) for minute in range(60)
]
BEFORE, BEFORE_TEXT = -36 * 3600 * SECOND, "2026-10-30T12:00:00.000000Z"
"""When a process started that is older than the month."""

NO_KILLS = {1: "oom_exit", 2: "oom_dying"}
"""One line in a hundred each: queries about kills leave them out."""


@dataclass(slots=True)
class Kill:
    """What is true of a kill.

    Attributes:
        at: Microseconds since 2026-11-01T00:00:00Z.
        lifetime: Seconds; None: not known.
        limit: Bytes, of the workload.
    """

    workload: str
    node: str
    incident: str
    at: int
    scope: str
    verdict: str
    owner: str
    limit: int
    instance: str
    resident: int
    lifetime: int | None


@dataclass
class Fleet:
    """What is true of all lines: kills, and by node the sums of what was lost and when that was last observed."""

    lines: int = 0
    kills: list[Kill] = field(default_factory=list)
    lost: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0, 0]))


@dataclass(frozen=True)
class Workload:
    """Where kills happen, and what their lines say about it."""

    name: str
    instances: tuple[str, ...]
    parts: tuple[str, ...]
    paths: tuple[str, ...]
    owner: str
    limit: int
    lifetime: int
    comm: str


def write_fleet(file: Path, count: int, *, seed: int = 1) -> Fleet:
    """Write at least `count` lines; return what is true of them."""
    fleet, random = Fleet(), Random(seed)
    with file.open("w", buffering=1 << 20) as out:
        for lines in _incidents(fleet, random):
            out.writelines(lines)
            fleet.lines += len(lines)
            if fleet.lines >= count:
                return fleet
    raise AssertionError("incidents never end")


def text_of(at: int) -> str:
    """Return a time, microseconds since 2026-11-01T00:00:00Z, as a line has it."""
    minute, rest = divmod(at, 60_000_000)
    return f"{MINUTES[minute]}:{rest // 1_000_000:02d}.{rest % 1_000_000:06d}Z"


def _workloads(random: Random) -> list[Workload]:
    found = []
    for number in range(300):
        limit = (64 << random.randrange(6)) * MIB + number * 4096  # no two workloads have the same
        lifetime = (60, 900, 30_000, 400_000)[number % 4]
        kind, comm = ("k8s", "k8s", "k8s", "docker", "unit")[number % 5], f"app-{number}"
        name, owner = {
            "k8s": (f"team-{number % 20}/app-{number}", "container"),
            "docker": (f"box-{number}", "container"),
            "unit": (f"app-{number}.service", "unit"),
        }[kind]
        instances: list[str] = []
        parts: list[dict[str, Any]] = []
        for replica in range(1 + number % 7):
            uid = f"{number:08x}-0000-4000-8000-{replica:012x}"
            container = f"{number:032x}{replica:032x}"
            if kind == "k8s":
                pod = {"uid": uid, "name": f"app-{number}-7d9f8b6c5-abc{replica:02d}"}
                instances.append(uid)
                part: dict[str, Any] = {
                    "cgroup": {"path": f"/kubepods.slice/burstable/pod{uid}/{container}", "version": 2},
                    "container": {"id": container, "runtime": "containerd", "name": f"c-{number}"},
                    "k8s": {
                        "namespace": {"name": f"team-{number % 20}"},
                        "pod": pod,
                        "workload": {"kind": "Deployment", "name": f"app-{number}"},
                        "qos": "burstable",
                    },
                }
            elif kind == "docker":
                instances.append(container)
                part = {
                    "cgroup": {"path": f"/system.slice/docker-{container}.scope", "version": 2},
                    "container": {"id": container, "runtime": "docker", "name": name},
                    "systemd": {"unit": f"docker-{container}.scope", "manager": "system"},
                }
            else:
                instances.append("")  # the node and the path of its cgroup
                part = {
                    "cgroup": {"path": f"/system.slice/{name}", "version": 2},
                    "systemd": {"unit": name, "slice": "system.slice", "manager": "system"},
                }
            parts.append(part)
        texts = tuple(json.dumps(part, separators=(",", ":"))[1:] for part in parts)
        paths = tuple(part["cgroup"]["path"] for part in parts)
        found.append(Workload(name, tuple(instances), texts, paths, owner, limit, lifetime, comm))
    return found


def _incidents(fleet: Fleet, random: Random) -> Iterator[list[str]]:
    """Yield the lines of one event after another: an OOM with its victims, a loss, or what queries must leave out."""
    workloads = _workloads(random)
    # Some are killed so seldom that they are no repeat offenders.
    weights = [0.01 if number % 10 == 3 else 1000 / (number + 1) for number in range(len(workloads))]
    cumulative = list(accumulate(weights))
    numbers = [0] * NODES
    while True:
        for workload in random.choices(workloads, cum_weights=cumulative, k=1000):
            node, at, kind = (
                random.randrange(NODES),
                random.randrange(2 * DAY * SECOND, DAYS * DAY * SECOND),
                random.random(),
            )
            if kind < 0.01:
                yield [_lost(fleet, random, node, at)]
                continue
            scope = "global" if random.random() < 0.08 else "memcg"
            incident = f"{node:08x}-{at}"
            verdicts = ("killed", "group_member", "group_member") if random.random() < 0.05 else ("killed",)
            replica = random.randrange(len(workload.parts))
            lines = []
            for verdict in verdicts:
                numbers[node] += 1
                event = NO_KILLS.get(int(kind * 100), "oom_kill")
                head = (event, node, numbers[node], at, incident, scope, verdict)
                lines.append(_kill(fleet, random, workload, replica, *head))
            yield lines * 2 if random.random() < 0.005 else lines


def _lost(fleet: Fleet, random: Random, node: int, at: int) -> str:
    count = random.randrange(1, 50)
    _add_loss(fleet, node, at, (count, 0, 0))
    return (
        f'{{"schema":"oomtrace/1","event":"oom_lost","id":"{node:08x}-lost-{at}","seq":9,"observed":"{text_of(at)}",'
        f'"severity":"WARN","message":"{count} kills have no line","fidelity":"full","host":{_host(node)},'
        f'"lost":{{"count":{count},"from":"{text_of(at - SECOND)}","to":"{text_of(at)}"}}}}\n'
    )


def _kill(
    fleet: Fleet,
    random: Random,
    workload: Workload,
    replica: int,
    event: str,
    node: int,
    number: int,
    at: int,
    incident: str,
    scope: str,
    verdict: str,
) -> str:
    lifetime = int(workload.lifetime * random.uniform(0.5, 1.5))
    created = at - lifetime * SECOND - random.randrange(SECOND)
    if created < 0:
        lifetime = (at - BEFORE) // SECOND
    creation = f'"creation":{{"time":"{text_of(created) if created >= 0 else BEFORE_TEXT}"}},'
    if random.random() < 0.02:
        creation, lifetime = "", -1
    anon, file, pid = random.randrange(workload.limit), random.randrange(10 * MIB), random.randrange(300, 4_000_000)
    losses = (
        0,
        random.randrange(1, 9) if random.random() < 0.003 else 0,
        random.randrange(1, 9) if random.random() < 0.003 else 0,
    )
    announced = f'"dropped_before":{losses[1]},' if losses[1] else ""
    announced += f'"output_dropped_before":{losses[2]},' if losses[2] else ""
    if losses[1] or losses[2]:
        _add_loss(fleet, node, at, losses)
    memcg = ""
    if scope == "memcg":
        path = workload.paths[replica]
        memcg = f',"memcg":{{"path":"{path}","version":2,"usage":{workload.limit},"limit":{workload.limit}}}'
    owner = workload.owner if scope == "memcg" else "node"
    if event == "oom_kill":
        fleet.kills.append(
            Kill(
                workload.name,
                f"node-{node}",
                incident,
                at,
                scope,
                verdict,
                owner,
                workload.limit,
                workload.instances[replica] or f"node-{node} {workload.paths[replica]}",
                anon + file,
                None if lifetime < 0 else lifetime,
            )
        )
    id_ = f"{node:08x}-{number}-{pid}{'-exit' if event == 'oom_exit' else ''}"
    return (
        f'{{"schema":"oomtrace/1","event":"{event}","id":"{id_}",'
        f'"seq":{number},"time":"{text_of(at)}","observed":"{text_of(at)}","severity":"ERROR",'
        f'"message":"{workload.comm} (pid {pid}) was killed by the kernel\'s OOM killer","fidelity":"full",'
        f'"derived":["oom.limit_owner"],"missing":[],{announced}"host":{_host(node)},"oom":{{"incident":"{incident}",'
        f'"number":{number},"verdict":"{verdict}","scope":"{scope}",'
        f'"limit_owner":"{owner}","points":{{"total":{anon >> 12},"exact":true}},'
        f'"limit_bytes":{workload.limit},"trigger":{{"pid":{pid},"comm":"{workload.comm}"}}{memcg}}},'
        f'"process":{{"pid":{pid},"tid":{pid},"vpid":7,"comm":"{workload.comm}","user":{{"id":1000}},{creation}"threads":4,'
        f'"oom_score_adj":0,"memory":{{"anon":{anon},"file":{file},"shmem":0,"swap":0,"page_tables":8192}},'
        f'"command_args":["/usr/bin/{workload.comm}","--serve"],"executable":{{"path":"/usr/bin/{workload.comm}"}},'
        f'"working_directory":"/srv"}},{workload.parts[replica]}\n'
    )


def _host(node: int) -> str:
    return f'{{"name":"node-{node}","boot_id":"{node:08x}-0000-4000-8000-000000000000","kernel":"6.12.0"}}'


def _add_loss(fleet: Fleet, node: int, at: int, losses: tuple[int, int, int]) -> None:
    kept = fleet.lost[f"node-{node}"]
    kept[:] = [*(old + new for old, new in zip(kept[:3], losses, strict=True)), max(kept[3], at)]
