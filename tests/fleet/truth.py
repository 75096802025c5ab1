# SPDX-License-Identifier: Apache-2.0
"""What the queries of deploy/fleet must find, computed from what the generator knows."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

from fleet.generator import DAY, SECOND, Fleet, Kill

Rows = list[dict[str, Any]]


def time_of(at: int) -> datetime:
    return datetime(2026, 11, 1, tzinfo=timezone.utc) + timedelta(microseconds=at)


def kills_by_workload(fleet: Fleet) -> Rows:
    rows = [
        {
            "workload": workload,
            "kills": len(kills),
            "incidents": len(incidents(kills)),
            "nodes": len({kill.node for kill in kills}),
            "at_a_limit": sum(kill.scope == "memcg" for kill in kills),
            "host_out_of_memory": sum(kill.scope == "global" for kill in kills),
            "first": time_of(min(kill.at for kill in kills)),
            "last": time_of(max(kill.at for kill in kills)),
        }
        for workload, kills in by_workload(fleet.kills).items()
    ]
    return sorted(rows, key=lambda row: (-row["kills"], row["workload"]))


def repeat_offenders(fleet: Fleet) -> Rows:
    rows = []
    for workload, kills in by_workload(fleet.kills).items():
        times = sorted(at for _, _, at in incidents(kills))
        seconds = [at // SECOND for at in times]
        # incidents of the same second count, too
        most = max(bisect_left(seconds, at + 1) - bisect_left(seconds, at - DAY) for at in seconds)
        if most >= 3:
            row = {"workload": workload, "most_within_a_day": most, "incidents": len(times), "last": time_of(times[-1])}
            rows.append(row)
    return sorted(rows, key=lambda row: (-row["most_within_a_day"], row["workload"]))


def small_limits(fleet: Fleet) -> Rows:
    rows = []
    for workload, all_kills in by_workload(fleet.kills).items():
        kills = [kill for kill in all_kills if kill.scope == "memcg" and kill.verdict == "killed"]
        lifetimes = sorted(kill.lifetime for kill in kills if kill.lifetime is not None)
        row: dict[str, Any] = {
            "workload": workload,
            "memory_limit": all_kills[0].limit,
            "incidents": len(incidents(kills)),
            "instances": len({kill.instance for kill in kills}),
            "median_lifetime_s": lifetimes[(len(lifetimes) - 1) // 2] if lifetimes else DAY,
            "most_resident": max((kill.resident for kill in kills), default=0),
        }
        if row["incidents"] >= 3 and row["instances"] >= 2 and row["median_lifetime_s"] < 3600:
            rows.append(row)
    return sorted(rows, key=lambda row: (-row["incidents"], row["workload"]))


def lost(fleet: Fleet) -> Rows:
    rows = [
        {
            "node": node,
            "lost_kills": kills,
            "dropped_records": records,
            "dropped_lines": lines,
            "last": time_of(at),
        }
        for node, (kills, records, lines, at) in fleet.lost.items()
    ]
    return sorted(
        rows, key=lambda row: (-row["lost_kills"], -row["dropped_records"], -row["dropped_lines"], row["node"])
    )


def by_workload(kills: Iterable[Kill]) -> dict[str, list[Kill]]:
    found = defaultdict(list)
    for kill in kills:
        found[kill.workload].append(kill)
    return found


def incidents(kills: Iterable[Kill]) -> set[tuple[str, str, int]]:
    return {(kill.node, kill.incident, kill.at) for kill in kills}


QUERIES = {
    "kills-by-workload": kills_by_workload,
    "repeat-offenders": repeat_offenders,
    "small-limits": small_limits,
    "lost": lost,
}
