# SPDX-License-Identifier: Apache-2.0
"""What the victim was working on, and the key under which its job system knows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from ooMtrace.enrich import Enricher
from ooMtrace.enrich.jobs.rule import Rule
from ooMtrace.enrich.jobs.rules import RULES
from ooMtrace.enrich.redact import MASK
from ooMtrace.record import Job, OomKill

LOOKED_AT = 4096
"""Characters of each text: as much as is read of the arguments."""

PATTERNS = {pattern: re.compile(pattern) for rule in RULES for _, pattern in (*rule.where, *rule.also)}


def add_job() -> Enricher:
    """Return an enricher that tells the worker of a known job system by the rules of jobs.py; the first one counts."""

    def enrich(kill: OomKill) -> OomKill:
        found = match(kill)
        return kill if found is None else replace(kill, job=_job(*found, kill))

    return enrich


def match(kill: OomKill) -> tuple[Rule, Mapping[str, str]] | None:
    """Return the rule that fits, and what its groups have found."""
    texts = _texts(kill)
    for rule in RULES:
        found = [_search(one, texts) for one in rule.where]
        if all(groups is not None for groups in found):
            found.extend(_search(one, texts) for one in rule.also)
            # Backwards, for the last one in a dictionary stays: what was found first counts.
            return rule, {name: text for groups in reversed(found) for name, text in (groups or {}).items()}
    return None


def _texts(kill: OomKill) -> dict[str, str]:
    process, cgroup = kill.process, kill.cgroup
    command = "\0".join(process.command_args or ()) if process.title is None else process.title
    texts = {"command": command, "comm": process.comm or "", "cgroup": (cgroup and cgroup.path) or ""}
    texts.update((f"environment.{name}", text) for name, text in (process.environment or {}).items())
    return {source: text[:LOOKED_AT] for source, text in texts.items()}


def _search(one: tuple[str, str], texts: Mapping[str, str]) -> dict[str, str] | None:
    source, pattern = one
    found = PATTERNS[pattern].search(texts[source]) if source in texts else None
    return None if found is None else {name: text for name, text in found.groupdict().items() if text}


def _job(rule: Rule, found: Mapping[str, str], kill: OomKill) -> Job:
    join = _join(rule, found, kill)
    return Job(
        system=rule.system,
        role=found.get("role", rule.role),
        queue=found.get("queue"),
        name=found.get("name"),
        id=found.get("id"),
        worker=found.get("worker"),
        join=join,
        registry=None if join is None else rule.registry,
    )


def _join(rule: Rule, found: Mapping[str, str], kill: OomKill) -> str | None:
    parts = {name: text for name, text in found.items() if MASK not in text}
    parts |= {name: str(part) for name, part in _surroundings(kill).items() if part}
    for template in rule.join:
        try:
            return template.format_map(parts)
        except KeyError:  # a part is not known
            continue
    return None


def _surroundings(kill: OomKill) -> dict[str, str | int | None]:
    process, where = kill.process, kill.namespace
    parent = process.parent
    # A fork keeps the name. The first process of a pid namespace has a parent outside, whose pid is not known in there.
    forked = parent is not None and parent.comm is not None and parent.comm == process.comm and process.vpid != 1
    return {
        "hostname": None if where is None else where.hostname,
        "pid": process.vpid,
        "parent": parent.vpid if parent and forked else None,
    }
