# SPDX-License-Identifier: Apache-2.0
"""Recognizes workers of job systems, and builds the key by which the system's registry knows them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from ooMtrace.enrich import Enricher
from ooMtrace.enrich.jobs.rule import Rule
from ooMtrace.enrich.jobs.rules import RULES
from ooMtrace.enrich.redact import MASK
from ooMtrace.record import Job, OomKill

MAX_TEXT = 4096
"""Characters of each text that are searched: as much as is read of the arguments."""

PATTERNS = {pattern: re.compile(pattern) for rule in RULES for _, pattern in (*rule.where, *rule.also)}

Groups = Mapping[str, str]


def add_job() -> Enricher:
    """Return an enricher that adds the job of a victim that a rule recognizes."""

    def enrich(kill: OomKill) -> OomKill:
        found = match(kill)
        return kill if found is None else replace(kill, job=_job(*found, kill))

    return enrich


def match(kill: OomKill) -> tuple[Rule, Groups] | None:
    """Return the first rule that matches, and the groups that its conditions found; None if no rule does."""
    return _match(tuple(_texts(kill).items()))


@lru_cache(64)  # the victims of a storm have the same texts
def _match(items: tuple[tuple[str, str], ...]) -> tuple[Rule, Groups] | None:
    texts = dict(items)
    for rule in RULES:
        groups = [_search(condition, texts) for condition in rule.where]
        if all(found is not None for found in groups):
            groups.extend(_search(condition, texts) for condition in rule.also)
            return rule, _merged(groups)
    return None


def _texts(kill: OomKill) -> dict[str, str]:
    """Return source -> text, as the conditions of rules name them."""
    process, cgroup = kill.process, kill.cgroup
    cmdline = "\0".join(process.command_args or ()) if process.title is None else process.title
    texts = {"cmdline": cmdline, "comm": process.comm or "", "cgroup": (cgroup and cgroup.path) or ""}
    texts.update((f"environment.{name}", text) for name, text in (process.environment or {}).items())
    return {source: text[:MAX_TEXT] for source, text in texts.items()}


def _search(condition: tuple[str, str], texts: Mapping[str, str]) -> Groups | None:
    source, pattern = condition
    found = PATTERNS[pattern].search(texts[source]) if source in texts else None
    return None if found is None else {name: text for name, text in found.groupdict().items() if text}


def _merged(groups: list[Groups | None]) -> Groups:
    # Reversed, for a dictionary keeps the last value: of two values for one name the first that was found counts.
    return {name: text for found in reversed(groups) for name, text in (found or {}).items()}


def _job(rule: Rule, groups: Groups, kill: OomKill) -> Job:
    join = _join(rule, groups, kill)
    return Job(
        system=rule.system,
        role=groups.get("role", rule.role),
        queue=groups.get("queue"),
        name=groups.get("name"),
        id=groups.get("id"),
        worker=groups.get("worker"),
        join=join,
        registry=None if join is None else rule.registry,
    )


def _join(rule: Rule, groups: Groups, kill: OomKill) -> str | None:
    """Return the key from the first template whose parts are all known; a part that was redacted is not."""
    parts = {name: text for name, text in groups.items() if MASK not in text}
    parts |= {name: str(part) for name, part in _surroundings(kill).items() if part}
    for template in rule.join:
        try:
            return template.format_map(parts)
        except KeyError:
            continue
    return None


def _surroundings(kill: OomKill) -> dict[str, str | int | None]:
    """Return the parts of a key that no rule needs to find."""
    process, namespace = kill.process, kill.namespace
    parent = process.parent
    # A fork keeps the name. The first process of a pid namespace has its parent outside, and never learned its pid.
    is_fork = parent is not None and parent.comm is not None and parent.comm == process.comm and process.vpid != 1
    return {
        "hostname": None if namespace is None else namespace.hostname,
        "pid": process.vpid,
        "parent": parent.vpid if parent and is_fork else None,
    }
