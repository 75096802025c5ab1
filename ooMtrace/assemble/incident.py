# SPDX-License-Identifier: Apache-2.0
"""Which kills belong to the same run of the OOM killer, and the verdict on each. No I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from ooMtrace import record
from ooMtrace.assemble.attribution import Symbols, in_stack
from ooMtrace.assemble.to_record import LineVerdict, incident_id
from ooMtrace.events import Context, Kind, Ranking, VictimEvent
from ooMtrace.kernel.snapshot import HostSnapshot

MAX_INCIDENTS = 256
GROUP_MEMBER = "oom_kill_memcg_member"

SignalKey = tuple[int | None, int | None]
"""A process id and when SIGKILL was sent to it (CLOCK_MONOTONIC ns): shared by the events of one victim."""


@dataclass(frozen=True, slots=True)
class VictimDeath:
    """One victim of an incident.

    Attributes:
        snapshot: The host when the event was read.
        ranking: The candidates of the kernel's decision; only for the process it chose.
        context: What the victim was doing; None if not received yet.
    """

    event: VictimEvent
    snapshot: HostSnapshot
    verdict: LineVerdict
    ranking: Ranking | None = None
    context: Context | None = None

    @property
    def pid(self) -> int | None:
        """The process id; the id of the marked thread if the process is not known (level `minimal`)."""
        return self.event.victim.task.pid or self.event.victim.task.tid

    @property
    def key(self) -> SignalKey:
        """The key shared with the victim's Context and Exit."""
        return self.event.victim.task.pid, self.event.signalled_at


@dataclass(slots=True)
class Incident:
    """One run of the OOM killer.

    Attributes:
        id: `oom.incident` in the lines.
        trigger_tid: The thread in which the OOM killer ran.
        decided_at: When the kernel decided (CLOCK_MONOTONIC ns); None: the decision was not seen.
        group_kill: Whether memory.oom.group may make this a group kill.
        killed: Number of processes that the kernel has killed and counted so far.
        pids: Processes marked or emitted so far, including those that only shared memory.
        held: Victims whose lines have not been emitted, by process id.
        complete_at: When further members or sharers are no longer expected (CLOCK_MONOTONIC ns).
        nth: Ordinal of this incident among those that are kept.
    """

    id: str
    trigger_tid: int | None
    decided_at: int | None
    group_kill: bool
    killed: int = 0
    pids: set[int | None] = field(default_factory=set)
    held: dict[int | None, VictimDeath] = field(default_factory=dict)
    complete_at: int = 0
    nth: int = 0

    def add_sharer(self, death: VictimDeath, complete_at: int) -> None:
        """Add a process that shares the victim's memory, unless it is already part of the incident."""
        if death.pid not in self.pids and death.pid not in self.held:
            self.held[death.pid] = death
            self.complete_at = max(self.complete_at, complete_at)

    def add_killed(self, death: VictimDeath, complete_at: int) -> None:
        """Add a process that the kernel killed and counted; its second kill with its group changes nothing."""
        if death.pid in self.pids:
            return
        self.pids.add(death.pid)
        self.killed += 1
        self.held[death.pid] = self._replace_sharer(death)
        if self.group_kill:
            self.complete_at = complete_at

    def _replace_sharer(self, death: VictimDeath) -> VictimDeath:
        """Turn a held sharer into a member: its Context and Exit carry the time of the first signal.

        By the second signal some of its threads may have exited because of the first.
        """
        sharer = self.held.pop(death.pid, None)
        if sharer is None:
            return death
        victim = replace(death.event.victim, threads=sharer.event.victim.threads)
        event = replace(death.event, signalled_at=sharer.event.signalled_at, victim=victim)
        return replace(death, event=event, context=sharer.context)

    def attach_context(self, key: SignalKey, context: Context) -> bool:
        """Attach a context to the held victim with this key; return whether there is one."""
        death = self.held.get(key[0])
        if death is None or death.key != key:
            return False
        self.held[death.pid] = replace(death, context=context)
        return True

    def take(self, is_ready: Callable[[VictimDeath], bool]) -> list[VictimDeath]:
        """Remove the held victims that are ready; return them in the order in which the kernel marked them."""
        ready = [death for death in self.held.values() if is_ready(death)]
        for death in ready:
            del self.held[death.pid]
            self.pids.add(death.pid)
        return sorted(ready, key=lambda death: death.event.ktime)


class Incidents:
    """The most recent incidents. What is looked up for each event does not depend on how many there are."""

    def __init__(self, host: record.Host, symbols: Symbols) -> None:
        self._host = host
        self._symbols = symbols
        self._recent: deque[Incident] = deque()
        self._last: dict[int | None, Incident] = {}
        """The last incident of each trigger."""
        self._holding: dict[int, Incident] = {}
        """By their ordinals those that hold lines, and perhaps some that do so no more."""

    def holding(self) -> list[Incident]:
        """Return the incidents that hold lines, the oldest first."""
        self._holding = {nth: incident for nth, incident in sorted(self._holding.items()) if incident.held}
        return list(self._holding.values())

    def find_or_open(self, event: VictimEvent) -> Incident:
        """Return the incident of an event.

        It is the trigger's last one if the decision is the same or, where no decision was seen, if the event cannot be
        the first of a run. Otherwise a new one is opened.
        """
        decided_at = event.decision.ktime if event.decision else None
        last = self._last.get(event.trigger.tid)
        if not last or not (last.decided_at == decided_at if decided_at is not None else self._continues_run(event)):
            last = self._last[event.trigger.tid] = self.new(event)
            last.nth = self._recent[-1].nth + 1 if self._recent else 0
            self._recent.append(last)
        self._holding[last.nth] = last
        return last

    def new(self, event: VictimEvent) -> Incident:
        """Return a new incident for an event, without keeping it."""
        decided_at = event.decision.ktime if event.decision else None
        group_kill = event.memcg_version == 2 and any(memcg.oom_group for memcg in event.memcg)  # noqa: PLR2004
        id_ = incident_id(self._host, event.ktime if decided_at is None else decided_at)
        return Incident(id_, event.trigger.tid, decided_at, group_kill=group_kill)

    def pop_excess(self) -> Iterator[Incident]:
        """Remove and yield the oldest incidents beyond the limit."""
        while len(self._recent) > MAX_INCIDENTS:
            oldest = self._recent.popleft()
            self._holding.pop(oldest.nth, None)
            if self._last[oldest.trigger_tid] is oldest:
                del self._last[oldest.trigger_tid]
            yield oldest

    def verdict(self, event: VictimEvent) -> record.Verdict:
        """Return why the kernel killed this process."""
        if event.kind is Kind.SHARER:
            return "shared_mm"
        return "group_member" if self._is_member(event) else "killed"

    def _continues_run(self, event: VictimEvent) -> bool:
        """Say whether the chosen process must have been killed before."""
        return self.verdict(event) != "killed"

    def _is_member(self, event: VictimEvent) -> bool:
        """Say whether a killed process is not the chosen one, but a member of its group."""
        if event.decision and event.decision.chosen_pid is not None:
            return event.decision.chosen_pid != event.victim.task.pid
        return bool(in_stack(event.stack, self._symbols, GROUP_MEMBER))
