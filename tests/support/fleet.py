# SPDX-License-Identifier: Apache-2.0
"""Lines as a fleet writes them: recorded lines with other hosts, times, workloads and sizes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from ooMtrace.output.encode import dump_line, load
from support.explained import CAUSES, LOST, POD, line

BEGIN = datetime(2026, 8, 1, tzinfo=timezone.utc)
SECONDS = 90 * 86400
HOSTS, WORKLOADS = 300, 40
MIB = 1 << 20


def fleet_lines(count: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Yield lines of every event, a few of them twice, in order of time; the same ones for the same seed."""
    chance = random.Random(seed)
    names = [name for name in CAUSES if name != "lost"]
    kinds = [dump_line(line(name)) for name in names]
    times = sorted(chance.random() ** 0.7 * SECONDS for _ in range(count))
    before: dict[str, Any] | None = None
    for number, second in enumerate(times, 1):
        if before is not None and chance.random() < 0.01:
            yield before
            continue
        time = (BEGIN + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        host = f"node{chance.randrange(HOSTS)}"
        if chance.random() < 0.002:
            lost = {"count": chance.randrange(1, 9), "from": time, "to": time}
            yield {**LOST, "id": f"lost-{number}", "observed": time, "host": {"name": host}, "lost": lost}
            continue
        before = load(kinds[min(int(chance.expovariate(0.12)), len(kinds) - 1)])
        before |= {"id": f"{host}-{number}", "time": time, "observed": time}
        before["host"] = {**before.get("host", {}), "name": host}
        if isinstance(before.get("oom"), dict):
            before["oom"]["incident"] = f"{host}-{number - number % 2 if chance.random() < 0.1 else number}"
        if chance.random() < 0.6:
            _put_in_pod(before, chance)
        yield before


def _put_in_pod(kill: dict[str, Any], chance: random.Random) -> None:
    name = f"app{min(int(chance.expovariate(0.15)), WORKLOADS - 1)}"
    pod = {"uid": POD["k8s"]["pod"]["uid"], "name": f"{name}-7d9f8b6c5d-{chance.randrange(10**5):05}"}
    kill |= {**POD, "k8s": {**POD["k8s"], "pod": pod, "workload": {"kind": "Deployment", "name": name}}}
    memcg = kill.get("oom", {}).get("memcg")
    if memcg:
        kill["oom"]["limit_owner"] = "container"
        memcg["path"] = kill.setdefault("cgroup", {})["path"] = f"/kubepods/pod{pod['uid']}/{chance.randrange(10**5)}"
        memcg["limit"] = memcg["usage"] = memcg["peak"] = (len(name) * 64 + ord(name[-1]) * 8) * MIB
