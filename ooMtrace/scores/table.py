# SPDX-License-Identifier: Apache-2.0
"""Scores as tables for people and as plain values for JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ooMtrace.explain.amounts import count, plural, size
from ooMtrace.explain.facts import clean
from ooMtrace.explain.layout import cut, width
from ooMtrace.scores.badness import adj_points, sparing_adj
from ooMtrace.scores.domains import Domain
from ooMtrace.scores.processes import Candidate

HEADER = f"{'':>4} {'points':>11} {'resident':>11} {'swap+tables':>11} {'adj':>5} {'score':>5} {'pid':>8}"
SHORTEST = 20
"""Columns of a name, however narrow the terminal is."""

Pss = Mapping[int, int]


def text(domains: Sequence[Domain], page_size: int, columns: int, top: int, pss: Pss) -> str:
    """Return a table for each domain.

    Args:
        domains: What to show.
        page_size: In bytes.
        columns: Of the terminal.
        top: How many processes of each domain to show; 0: all.
        pss: Proportional set sizes in bytes by pid, as far as they are asked for and known.
    """
    return "\n".join(_table(domain, page_size, columns, top, pss) for domain in domains)


def _table(domain: Domain, page_size: int, columns: int, top: int, pss: Pss) -> str:
    shown = domain.processes[: top or None]
    pss_header = f" {'PSS':>11}" if pss else ""
    rows = [cut(_title(domain, page_size), columns), f"{HEADER}{pss_header}  process"]
    for rank, process in enumerate(shown, 1):
        rows.append(_row(domain, process, rank, page_size, columns, pss))
    if len(domain.processes) > len(shown):
        rows.append(f"{'':>4} and {plural(len(domain.processes) - len(shown), 'more', 'more')}")
    return "".join(f"{row}\n" for row in rows)


def _title(domain: Domain, page_size: int) -> str:
    words = [f"limit {size(domain.limit)}" if domain.path is not None else f"{size(domain.limit)} of RAM"]
    swap = domain.total_pages * page_size - domain.limit
    words.append(f"{size(swap)} of swap" if swap >= page_size else "no swap")
    if domain.usage is not None:
        words.append(f"{size(max(0, domain.limit - domain.usage))} free")
    if domain.pressure:
        words.append("waiting for memory: " + ", ".join(f"{kind} {share} %" for kind, share in domain.pressure.items()))
    return f"{clean(domain.path) if domain.path is not None else 'host'}: {', '.join(words)}"


def _row(domain: Domain, process: Candidate, rank: int, page_size: int, columns: int, pss: Pss) -> str:
    badness = domain.points(process)
    usage = process.usage
    cells = (
        f"{rank if badness is not None else '':>4}",
        f"{count(badness) if badness is not None else 'exempt':>11}",
        f"{size(usage.rss * page_size):>11}",
        f"{size((usage.swap + usage.page_tables) * page_size):>11}",
        f"{usage.adj:>5}",
        f"{'' if process.oom_score is None else process.oom_score:>5}",
        f"{process.pid:>8}",
        *((f"{size(pss[process.pid]) if process.pid in pss else '':>11}",) if pss else ()),
    )
    begin = " ".join(cells)
    return f"{begin}  {cut(name(process), max(SHORTEST, columns - width(begin) - 2))}"


def name(process: Candidate) -> str:
    """Return what a process calls itself, safe for a terminal."""
    return clean(" ".join(process.title.split())) or f"[{clean(process.comm)}]"


def explanation(process: Candidate, domains: Sequence[Domain], page_size: int) -> str:
    """Return a process's place in each domain that it belongs to, its points as a sum, and what would spare it."""
    where = f" in {clean(process.cgroup)}" if process.cgroup not in (None, "/") else ""
    rows = [f"{name(process)} (pid {process.pid}){where}"]
    for domain in domains:
        title = "on the host" if domain.path is None else f"in {clean(domain.path)}"
        rows += [f"{title}, {_title(domain, page_size).partition(': ')[2]}:", *_place(process, domain)]
    return "".join(f"{row}\n" for row in rows)


def _place(process: Candidate, domain: Domain) -> list[str]:
    usage, badness = process.usage, domain.points(process)
    if badness is None:
        why = "it is the init process of the host" if usage.is_exempt else "its oom_score_adj is -1000"
        return [f"  never chosen: {why}"]
    ranked = [one for one in domain.processes if domain.points(one) is not None]
    place = next(at for at, one in enumerate(ranked, 1) if one.pid == process.pid)
    added = adj_points(usage.adj, domain.total_pages)
    parts = f"{count(usage.rss)} resident + {count(usage.swap)} in swap + {count(usage.page_tables)} page tables"
    sign = "-" if added < 0 else "+"
    rows = [
        f"  place {place} of {count(len(ranked))} that can be chosen",
        f"  {count(badness)} points = {parts} {sign} {count(abs(added))} adj",
    ]
    others = [one for one in ranked if one.pid != process.pid]
    if place != 1:
        first = ranked[0]
        ahead = f"{clean(first.comm)} (pid {first.pid}) with {count(domain.points(first) or 0)} points"
        return [*rows, f"  chosen before it: {ahead}"]
    if not others:
        return [*rows, "  no other can be chosen: only -1000 would spare it, and then nothing could be killed"]
    rival = others[0]
    spared = sparing_adj(usage, domain.points(rival) or 0, domain.total_pages)
    if spared is None:
        return [*rows, "  only oom_score_adj -1000 would spare it"]
    then = f"{clean(rival.comm)} (pid {rival.pid}) would be chosen"
    return [*rows, f"  at oom_score_adj {spared} or less (not {usage.adj}), {then}"]


def plain(domain: Domain, top: int, pss: Pss) -> dict[str, Any]:
    """Return a domain for JSON: `points` and their parts in pages, all else in bytes."""
    facts = {"path": domain.path, "limit": domain.limit, "usage": domain.usage}
    return {
        **{key: value for key, value in facts.items() if value is not None},
        "total_pages": domain.total_pages,
        "pressure": domain.pressure,
        "processes": [_plain(domain, process, pss) for process in domain.processes[: top or None]],
    }


def _plain(domain: Domain, process: Candidate, pss: Pss) -> dict[str, Any]:
    usage, badness = process.usage, domain.points(process)
    facts = {
        "pid": process.pid,
        "comm": process.comm,
        "title": process.title or None,
        "user": process.user,
        "cgroup": process.cgroup,
        "points": badness,
        "rss": usage.rss,
        "swap": usage.swap,
        "page_tables": usage.page_tables,
        "adj": None if badness is None else adj_points(usage.adj, domain.total_pages),
        "oom_score_adj": usage.adj,
        "oom_score": process.oom_score,
        "pss": pss.get(process.pid),
    }
    return {key: value for key, value in facts.items() if value is not None}
