# SPDX-License-Identifier: Apache-2.0
"""From sightings to kills: one OomKill for each process, one incident for each OOM. No I/O; time is handed in."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ooMtrace import record
from ooMtrace.assemble.attribution import UNKNOWN_RSS, Symbols, attribute, in_stack
from ooMtrace.assemble.to_record import LineContext, incident_id, to_exit_record, to_record
from ooMtrace.events import Context, Exit, Kind, LinePart, Ranking, VictimEvent
from ooMtrace.kernel.snapshot import HostSnapshot
from ooMtrace.settings import Level

SHARER_WAIT_NS = 20_000_000
"""A process that shares a victim's memory may be marked itself a moment later, as a member of the same group: its
line waits so long for that. The kernel does all this in one loop, without sleeping.
"""

GROUP_WAIT_NS = 100_000_000
"""The lines of a group kill wait until no member has followed for so long, to say how many there were. Between two
members lies one line on the kernel's console, which may be a slow one.
"""

CONTEXT_WAIT_NS = 250_000_000
"""A line waits so long for what the victim was doing. The victim itself must run for that to be read; mostly it does
so within a few milliseconds, but one that sleeps uninterruptibly may never. It counts from when the kill was seen here
and not from the mark: where we come late, so does the victim. --timeout-factor multiplies it, and the wait for a
group.
"""

SUMS_SINCE = 7
"""Linux 7.x: the OOM killer weighs and logs with every CPU's part of the counters. Stable series may have it, too."""

INCIDENTS_KEPT = 256
RANKINGS_KEPT = 8
CONTEXTS_KEPT = 128
EXITS_KEPT = 512
GROUP_MEMBER = "oom_kill_memcg_member"


Key = tuple[int | None, int | None]
"""A process, and when SIGKILL was sent to it: by this all that is told of one victim belongs together."""

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Death:
    """One process of an incident, when it was seen, what it was doing and, for the chosen one, what was weighed."""

    seen: VictimEvent
    now: HostSnapshot
    verdict: str
    ranking: Ranking | None = None
    context: Context | None = None

    @property
    def pid(self) -> int | None:
        """The process; its marked thread where the process is not known (level `minimal`)."""
        return self.seen.victim.task.pid or self.seen.victim.task.tid

    @property
    def key(self) -> Key:
        """By what its Context and its Exit belong to it."""
        return self.seen.victim.task.pid, self.seen.signalled_at


@dataclass(slots=True)
class Incident:
    """One run of the OOM killer.

    Attributes:
        id: Its name in the lines.
        trigger: The thread that the OOM killer ran in.
        decided: When the kernel decided (CLOCK_MONOTONIC ns); None: not seen.
        group: Whether a memory.oom.group takes part.
        killed: How many processes the kernel has killed and counted so far.
        dead: All that are gone, those that only shared their memory included.
        held: Deaths whose lines wait.
        due: How long those wait for others (CLOCK_MONOTONIC ns) that may have others to come.
    """

    id: str
    trigger: int | None
    decided: int | None
    group: bool
    killed: int = 0
    dead: set[int | None] = field(default_factory=set)
    held: list[Death] = field(default_factory=list)
    due: int = 0


class Assembler:
    """Joins what belongs together.

    Args:
        host: The machine, the same in every line.
        symbols: Addresses of kernel functions, by which the path to a kill is told.
        level: The level reached.
        all, lifecycle, env, timeout_factor: As in Settings.
    """

    def __init__(
        self,
        host: record.Host,
        symbols: Symbols,
        level: Level,
        *,
        all: bool = False,
        lifecycle: bool = False,
        env: tuple[str, ...] = (),
        timeout_factor: float = 1.0,
    ) -> None:
        self._host = host
        self._symbols = symbols
        self._level = level
        self._all = all
        self._lifecycle = lifecycle
        self._env = env
        self._context_wait = int(CONTEXT_WAIT_NS * timeout_factor)
        self._group_wait = int(GROUP_WAIT_NS * timeout_factor)
        self._incidents: deque[Incident] = deque()
        self._rankings: OrderedDict[int, Ranking] = OrderedDict()
        self._contexts: OrderedDict[Key, Context] = OrderedDict()
        self._told: OrderedDict[Key, tuple[Incident, Death]] = OrderedDict()
        self._exits: OrderedDict[Key, tuple[Exit, HostSnapshot]] = OrderedDict()
        # How this kernel weighs; a guess (get_mm_rss_sum() is of 2026) until it has confirmed one reading.
        self._summed = int((host.kernel or "0").partition(".")[0]) >= SUMS_SINCE

    def add(self, seen: LinePart, now: HostSnapshot) -> Iterator[record.OomKill]:
        """Take in one record, in the order of the kernel's clock; yield the kills that it completes."""
        if isinstance(seen, Ranking):
            _keep(self._rankings, seen.ktime, seen, RANKINGS_KEPT)
        elif isinstance(seen, Context):
            self._join((seen.pid, seen.signalled_at), seen)
        elif isinstance(seen, Exit):
            _keep(self._exits, (seen.pid, seen.signalled_at), (seen, now), EXITS_KEPT)
            yield from self._gone((seen.pid, seen.signalled_at))
        elif seen.kind is not Kind.DYING:
            self._enter(self._incident(seen), seen, now)
            while len(self._incidents) > INCIDENTS_KEPT:
                oldest = self._incidents.popleft()
                yield from self._release(oldest, oldest.held)
        elif self._all:
            incident = Incident(self._incident_id(seen), seen.trigger.tid, None, group=False)
            yield self._kill(incident, Death(seen, now, "dying"))
        yield from self.due(now.monotonic)

    def due(self, monotonic: int) -> Iterator[record.OomKill]:
        """Yield the kills that have all that they wait for, or have waited long enough."""
        for incident in [one for one in self._incidents if one.held]:
            yield from self._release(
                incident, [one for one in incident.held if self._until(incident, one) <= monotonic]
            )

    def next_due(self) -> int | None:
        """Return when `due` has something (CLOCK_MONOTONIC ns); None if nothing waits."""
        return min((self._until(incident, one) for incident in self._incidents for one in incident.held), default=None)

    def _until(self, incident: Incident, death: Death) -> int:
        """Say until when the line of a death waits."""
        others = incident.due if incident.group or death.verdict == "shared_mm" else 0
        if death.seen.signalled_at is None or death.context:
            return others
        return max(others, death.now.monotonic + self._context_wait)

    def _join(self, key: Key, context: Context) -> None:
        """Give a context to the death that it belongs to, told already or not; keep it if that is still to come."""
        if key in self._told:
            incident, death = self._told[key]
            self._told[key] = incident, replace(death, context=context)
            return
        for incident in self._incidents:
            for place, death in enumerate(incident.held):
                if death.key == key:
                    incident.held[place] = replace(death, context=context)
                    return
        _keep(self._contexts, key, context, CONTEXTS_KEPT)

    def _death(self, seen: VictimEvent, now: HostSnapshot, verdict: str, ranking: Ranking | None = None) -> Death:
        death = Death(seen, now, verdict, ranking)
        return replace(death, context=self._contexts.pop(death.key, None))

    def _incident(self, seen: VictimEvent) -> Incident:
        """Find or open the incident: the same decision or, where none was seen, the same trigger and no new start."""
        decided = seen.decision.ktime if seen.decision else None
        continues = seen.kind is Kind.SHARER or self._is_member(seen)
        current = next((one for one in reversed(self._incidents) if one.trigger == seen.trigger.tid), None)
        if current and (current.decided == decided if decided is not None else continues):
            return current
        group = any(level.oom_group for level in seen.memcg) and seen.memcg_version == 2  # noqa: PLR2004
        self._incidents.append(Incident(self._incident_id(seen), seen.trigger.tid, decided, group=group))
        return self._incidents[-1]

    def _is_member(self, seen: VictimEvent) -> bool:
        """Say whether a killed process is not the chosen one, but of its group."""
        if seen.decision and seen.decision.chosen_pid is not None:
            return seen.decision.chosen_pid != seen.victim.task.pid
        return bool(in_stack(seen.stack, self._symbols, GROUP_MEMBER))

    def _incident_id(self, seen: VictimEvent) -> str:
        return incident_id(self._host, seen.decision.ktime if seen.decision else seen.ktime)

    def _enter(self, incident: Incident, seen: VictimEvent, now: HostSnapshot) -> None:
        """Take a death into its incident, unless it is there already."""
        if seen.kind is Kind.SHARER:
            death = self._death(seen, now, "shared_mm")
            if death.pid not in incident.dead | {one.pid for one in incident.held}:
                incident.held.append(death)
                incident.due = max(incident.due, now.monotonic + SHARER_WAIT_NS)
            return
        member = self._is_member(seen)
        ranking = self._rankings.get(seen.decision.ktime) if seen.decision and not member else None
        death = self._death(seen, now, "group_member" if member else "killed", ranking)
        if death.pid in incident.dead:
            return
        incident.dead.add(death.pid)
        incident.killed += 1
        for one in [one for one in incident.held if one.pid == death.pid]:
            # It shared the chosen one's memory, and has got its signal for that.
            incident.held.remove(one)
            seen = replace(seen, signalled_at=one.seen.signalled_at)
            death = replace(death, seen=seen, context=one.context)
        incident.held.append(death)
        if incident.group:
            incident.due = now.monotonic + self._group_wait

    def _release(self, incident: Incident, ready: list[Death]) -> Iterator[record.OomKill]:
        incident.held = [one for one in incident.held if one not in ready]
        for death in sorted(ready, key=lambda death: death.seen.ktime):
            incident.dead.add(death.pid)
            yield self._kill(incident, death)
            if self._lifecycle:
                _keep(self._told, death.key, (incident, death), EXITS_KEPT)
                yield from self._gone(death.key)

    def _gone(self, key: Key) -> Iterator[record.OomKill]:
        """Tell of a victim's end, if its kill has been told; with what has come too late for that."""
        if key in self._told and key in self._exits:
            gone, now = self._exits.pop(key)
            yield to_exit_record(self._kill(*self._told.pop(key)), gone, now)

    def _kill(self, incident: Incident, death: Death) -> record.OomKill:
        seen = death.seen
        case = LineContext(incident.id, death.verdict, incident.killed, death.ranking, death.context, self._env)
        judgement = attribute(seen, self._symbols, death.now, summed=self._summed)
        readings = (seen.victim.rss, seen.victim.rss_sum)
        if judgement.points.exact and UNKNOWN_RSS not in readings and readings[0] != readings[1]:
            self._summed = judgement.rss == seen.victim.rss_sum
        return to_record(seen, judgement, case, death.now, self._host, self._level)


def _keep(kept: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    """Remember something, and forget the oldest."""
    kept[key] = value
    if len(kept) > most:
        kept.popitem(last=False)
