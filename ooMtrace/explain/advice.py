# SPDX-License-Identifier: Apache-2.0
"""Suggestions from a table of rules, the most specific first. A rule that does not fit says nothing. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ooMtrace.explain import advice_cause, advice_effect, advice_memory, advice_runtime
from ooMtrace.explain.case import Case
from ooMtrace.explain.layout import Block, numbered

MOST = 5
DEMO = "/oomtrace-demo-"
NOTHING = "Nothing to do: this was the demo of oomtrace."
HEADING = "What to do"
FIRST_RANK = 2
OTHER_RANK = 5

KERNEL = "mm/oom_kill.c"
CGROUPS = "cgroup-v2.rst"
SYSTEMD = "systemd.resource-control(5)"
SERVICE = "systemd.service(5)"
SYSTEMS = {
    "celery": "Celery, Workers Guide",
    "gunicorn": "Gunicorn, Settings",
    "php-fpm": "PHP manual, FPM configuration",
    "puma": "Puma, README",
}
QOS = "Kubernetes, Node-pressure Eviction"


@dataclass(frozen=True, slots=True)
class Rule:
    """A suggestion and when it fits.

    Attributes:
        name: Identifies it in tests and documentation.
        suggest: Returns what to do, with the numbers of the line that are the reason; None if the rule does not fit.
        source: Where the fact behind it is documented.
        by_system: Whether the job system's own documentation is the source, where that is known.
        unless: Rules that say it better: it is left out if one of them fits.
    """

    name: str
    suggest: Callable[[Case], str | None]
    source: str
    unless: tuple[str, ...] = ()
    by_system: bool = False


HEAPS = ("jvm-heap", "jvm-outside", "node-heap", "go-limit", "workers", "postgresql")
RULES = (
    Rule("sysrq", advice_cause.sysrq, "sysrq.rst"),
    Rule("nodes", advice_cause.nodes, "numa_memory_policy.rst"),
    Rule("unkillable", advice_cause.unkillable, KERNEL),
    Rule("panic", advice_cause.panic, "sysctl/vm.rst"),
    Rule("lost", advice_cause.lost, "docs/guarantees.md"),
    Rule("memory-killer", advice_cause.memory_killer, "docs/sigkill.md"),
    Rule("zero-limit", advice_cause.zero_limit, CGROUPS),
    Rule("group-member", advice_effect.group_member, CGROUPS),
    Rule("adj", advice_cause.adj, KERNEL),
    Rule("jvm-heap", advice_runtime.jvm_heap, "java(1)"),
    Rule("node-heap", advice_runtime.node_heap, "nodejs.org, CLI"),
    Rule("go-limit", advice_runtime.go_limit, "pkg.go.dev/runtime"),
    Rule("jvm-outside", advice_runtime.jvm_outside, "java(1)"),
    Rule("shared-memory", advice_memory.shared_memory, CGROUPS),
    Rule("page-tables", advice_memory.page_tables, KERNEL),
    Rule("kernel-memory", advice_memory.kernel_memory, CGROUPS),
    Rule("mapped-files", advice_memory.mapped_files, "mlock(2)"),
    Rule("workers", advice_runtime.workers, CGROUPS, by_system=True),
    Rule("qos", advice_cause.qos, QOS),
    Rule("changed-adj", advice_cause.changed_adj, QOS),
    Rule("many", advice_cause.many, KERNEL),
    Rule("neighbour", advice_cause.neighbour, KERNEL, ("workers", "adj", "many")),
    Rule("exempt", advice_cause.exempt, KERNEL),
    Rule("overcommitted", advice_cause.overcommitted, KERNEL),
    Rule("postgresql", advice_runtime.postgresql, "PostgreSQL, Linux Memory Overcommit"),
    Rule("repeated", advice_memory.repeated, CGROUPS),
    Rule("leak", advice_memory.leak, CGROUPS),
    Rule("spike", advice_memory.spike, CGROUPS, HEAPS),
    Rule("unlimited", advice_cause.unlimited, SYSTEMD),
    Rule("not-held", advice_memory.not_held, CGROUPS),
    Rule("sidekiq-arenas", advice_runtime.sidekiq_arenas, "Sidekiq wiki, Memory"),
    Rule("sidekiq-job", advice_runtime.sidekiq_job, "Sidekiq wiki, Reliability"),
    Rule("celery-job", advice_runtime.celery_job, "Celery, Tasks"),
    Rule("recycle", advice_runtime.recycle, CGROUPS, by_system=True),
    Rule("node-default", advice_runtime.node_default, "nodejs.org, CLI"),
    Rule("too-small", advice_memory.too_small, CGROUPS, (*HEAPS, "repeated", "neighbour")),
    Rule("unit-stopped", advice_effect.unit_stopped, SERVICE),
    Rule("group", advice_effect.group, CGROUPS),
    Rule("no-swap", advice_effect.no_swap, CGROUPS),
)


def is_demo(case: Case) -> bool:
    """Return whether the limit is that of `oomtrace demo`."""
    path = case.facts.word("oom.memcg.path") or case.facts.word("cgroup.path") or ""
    return DEMO in path and path.startswith("/")


def suggestions(case: Case) -> list[tuple[Rule, str]]:
    """Return the rules that fit, at most five, and what each says."""
    if is_demo(case) or case.event in ("oom_dying", "oom_exit"):
        return []
    fitting = [(rule, said) for rule in RULES if (said := rule.suggest(case))]
    names = {rule.name for rule, _ in fitting}
    return [(rule, said) for rule, said in fitting if not names & set(rule.unless)][:MOST]


def what_to_do(case: Case) -> list[Block]:
    """Return the suggestions as numbered blocks below a heading; nothing if no rule fits."""
    if is_demo(case):
        return [Block("text", (NOTHING,), FIRST_RANK)]
    found = suggestions(case)
    if not found:
        return []
    blocks = [Block("heading", (HEADING,), 1)]
    for number, (rule, said) in enumerate(found, 1):
        source = SYSTEMS.get(case.facts.word("job.system") or "", rule.source) if rule.by_system else rule.source
        blocks.append(numbered(number, f"{said} [{source}]", FIRST_RANK if number == 1 else OTHER_RANK + number))
    return blocks
