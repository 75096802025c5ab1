# SPDX-License-Identifier: Apache-2.0
"""What follows from the facts of a line by computation. docs/explain.md lists these rules. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from ooMtrace.explain.facts import Facts

PAGE_SIZES = (4096, 16384, 65536)
MIN_ADJ = -1000
VERSION_2 = 2


@dataclass(frozen=True, slots=True)
class Part:
    """A kind of memory and its size in bytes."""

    name: str
    size: int


class Case:
    """One line, and what is computed from it. A result of which a fact is missing is None.

    Args:
        facts: The line.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    @cached_property
    def event(self) -> str:
        """The kind of line."""
        return self.facts.word("event") or ""

    @cached_property
    def scope(self) -> str | None:
        """What ran out of memory."""
        return self.facts.word("oom.scope")

    @cached_property
    def resident(self) -> int | None:
        """Bytes that the victim had in RAM: anonymous, mapped files and shared memory."""
        sizes = [self.facts.amount(f"process.memory.{name}") for name in ("anon", "file", "shmem")]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @cached_property
    def held(self) -> tuple[Part, ...]:
        """The victim's memory by kind."""
        names = {"anon": "anonymous", "file": "mapped files", "shmem": "shared, tmpfs"}
        names |= {"page_tables": "page tables", "swap": "in swap"}
        sizes = {name: self.facts.amount(f"process.memory.{key}") for key, name in names.items()}
        return tuple(Part(name, size) for name, size in sizes.items() if size is not None)

    @cached_property
    def charged(self) -> tuple[Part, ...]:
        """The cgroup's memory by kind, from the statistics that the kernel printed; () if it printed none."""
        if self.scope != "memcg":
            return ()
        stat = {name: self._stat(name) for name in ("anon", "rss", "file", "cache", "shmem", "kernel", "pagetables")}
        anon = stat["anon"] if stat["anon"] is not None else stat["rss"]
        cache = stat["file"] if stat["file"] is not None else stat["cache"]
        if anon is None or cache is None:
            return ()
        shared = min(stat["shmem"] or 0, cache)  # file and cache include shmem
        tables = stat["pagetables"] or 0
        found = [Part("anonymous", anon), Part("page cache", cache - shared), Part("shared, tmpfs", shared)]
        found.append(Part("page tables", tables))
        if stat["kernel"] is not None:
            found.append(Part("other kernel", max(0, stat["kernel"] - tables)))  # kernel includes pagetables
        rest = (self.usage or 0) - sum(part.size for part in found)
        return (*found, Part("not listed", rest)) if rest > 0 else tuple(found)

    def _stat(self, name: str) -> int | None:
        """Return a statistic, on version 1 with the cgroups below if the kernel printed that."""
        total = self.facts.amount(f"oom.memcg.stat.total_{name}")
        return total if total is not None else self.facts.amount(f"oom.memcg.stat.{name}")

    @cached_property
    def usage(self) -> int | None:
        """Bytes charged to the cgroup whose limit was hit."""
        return self.facts.amount("oom.memcg.usage")

    @cached_property
    def limit(self) -> int | None:
        """Its limit, in bytes."""
        return self.facts.amount("oom.memcg.limit") if self.scope == "memcg" else None

    @cached_property
    def others(self) -> int | None:
        """Bytes charged to the cgroup that cannot be the victim's, at least: the victim's may be charged elsewhere."""
        if self.usage is None or self.resident is None or self.scope != "memcg":
            return None
        return max(0, self.usage - self.resident - (self.facts.amount("process.memory.page_tables") or 0))

    @cached_property
    def age(self) -> timedelta | None:
        """How long the victim had lived; None if a clock was set back meanwhile."""
        born, died = self.facts.time("process.creation.time"), self.facts.time("time")
        return died - born if born and died and died >= born else None

    @cached_property
    def page(self) -> int | None:
        """The size of a page in bytes: resident bytes of the victim divided by its resident pages."""
        pages = self.facts.amount("oom.points.rss")
        if not pages or self.resident is None or self.resident % pages:
            return None
        return self.resident // pages if self.resident // pages in PAGE_SIZES else None

    @cached_property
    def adj_unit(self) -> int | None:
        """Pages that one unit of oom_score_adj adds: a thousandth of limit_bytes in pages (oom_badness())."""
        total = self.facts.amount("oom.limit_bytes")
        return total // self.page // 1000 if total is not None and self.page else None

    @cached_property
    def rivals(self) -> tuple[Facts, ...]:
        """The other candidates that have points, those with the most first."""
        own = {self.facts.number("process.pid"), self.facts.number("process.tid")} - {None}
        found = [one for one in self.facts.parts("oom.candidates") if one.number("points") is not None]
        return tuple(
            sorted((one for one in found if one.number("pid") not in own), key=lambda one: -(one.number("points") or 0))
        )

    @cached_property
    def sparing_adj(self) -> int | None:
        """The highest oom_score_adj with which the next candidate would have had more points; None: there is none.

        That of the victim minus the smallest number of units that exceeds the difference in points. With the same
        points the order decides in which the kernel finds processes.
        """
        points, adj = self.facts.number("oom.points.total"), self.facts.number("process.oom_score_adj")
        rival = self.rivals[0].number("points") if self.rivals else None
        if points is None or adj is None or rival is None or not self.adj_unit or rival >= points:
            return None
        sparing = adj - ((points - rival) // self.adj_unit + 1)
        return sparing if sparing > MIN_ADJ else None

    @cached_property
    def largest(self) -> Facts | None:
        """The candidate, other than the victim, that held the most memory; None if the victim held more than all."""
        sizes = [self.resident, *(self.facts.amount(f"process.memory.{name}") for name in ("swap", "page_tables"))]
        if self.resident is None:
            return None
        others = [one for one in self.facts.parts("oom.candidates") if one.amount("memory") is not None]
        own = {self.facts.number("process.pid"), self.facts.number("process.tid")}
        others = [one for one in others if one.number("pid") not in own]
        found = max(others, key=lambda one: one.amount("memory") or 0, default=None)
        return found if found and (found.amount("memory") or 0) > sum(size or 0 for size in sizes) else None

    @cached_property
    def is_group(self) -> bool:
        """Whether a memory.oom.group took part."""
        return self.facts.has("oom.group") or self.facts.word("oom.verdict") == "group_member"

    @cached_property
    def is_own_trigger(self) -> bool | None:
        """Whether the victim asked for the memory itself, in any of its threads; None if that is not known."""
        trigger, pid = self.facts.number("oom.trigger.pid"), self.facts.number("process.pid")
        if trigger is not None and pid is not None:
            return trigger == pid
        thread, tid = self.facts.number("oom.trigger.tid"), self.facts.number("process.tid")
        return True if tid is not None and tid in (trigger, thread) else None

    @cached_property
    def is_limit_above(self) -> bool:
        """Whether the limit is that of a cgroup above the victim's own."""
        path, own = self.facts.word("oom.memcg.path"), self.facts.word("cgroup.path")
        return path is not None and own is not None and path != own

    def share(self, kind: str) -> tuple[int, int] | None:
        """Return the bytes of a kind of memory, and of all kinds: the cgroup's if known, else the victim's."""
        parts = self.charged or self.held
        found = [part.size for part in parts if part.name == kind]
        return (found[0], sum(part.size for part in parts)) if found else None

    def is_mostly(self, kind: str, percentage: int) -> bool:
        """Return whether a kind of memory has at least this share of it."""
        found = self.share(kind)
        return found is not None and found[1] > 0 and found[0] * 100 >= percentage * found[1]
