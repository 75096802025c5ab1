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
        held: Victims whose lines have not been emitted.
        complete_at: When further members or sharers are no longer expected (CLOCK_MONOTONIC ns).
    """

    id: str
    trigger_tid: int | None
    decided_at: int | None
    group_kill: bool
    killed: int = 0
    pids: set[int | None] = field(default_factory=set)
    held: list[VictimDeath] = field(default_factory=list)
    complete_at: int = 0

    def add_sharer(self, death: VictimDeath, complete_at: int) -> None:
        """Add a process that shares the victim's memory, unless it is already part of the incident."""
        if death.pid not in self.pids and all(death.pid != other.pid for other in self.held):
            self.held.append(death)
            self.complete_at = max(self.complete_at, complete_at)

    def add_killed(self, death: VictimDeath, complete_at: int) -> None:
        """Add a process that the kernel killed and counted; its second kill with its group changes nothing."""
        if death.pid in self.pids:
            return
        self.pids.add(death.pid)
        self.killed += 1
        self.held.append(self._replace_sharer(death))
        if self.group_kill:
            self.complete_at = complete_at

    def _replace_sharer(self, death: VictimDeath) -> VictimDeath:
        """Turn a held sharer into a member: its Context and Exit carry the time of the first signal.

        By the second signal some of its threads may have exited because of the first.
        """
        for sharer in [other for other in self.held if other.pid == death.pid]:
            self.held.remove(sharer)
            victim = replace(death.event.victim, threads=sharer.event.victim.threads)
            event = replace(death.event, signalled_at=sharer.event.signalled_at, victim=victim)
            death = replace(death, event=event, context=sharer.context)
        return death

    def attach_context(self, key: SignalKey, context: Context) -> bool:
        """Attach a context to the held victim with this key; return whether there is one."""
        for index, death in enumerate(self.held):
            if death.key == key:
                self.held[index] = replace(death, context=context)
                return True
        return False

    def take(self, is_ready: Callable[[VictimDeath], bool]) -> list[VictimDeath]:
        """Remove the held victims that are ready; return them in the order in which the kernel marked them."""
        ready = [death for death in self.held if is_ready(death)]
        self.held = [death for death in self.held if death not in ready]
        self.pids.update(death.pid for death in ready)
        return sorted(ready, key=lambda death: death.event.ktime)


class Incidents:
    """The most recent incidents, the oldest first."""

    def __init__(self, host: record.Host, symbols: Symbols) -> None:
        self._host = host
        self._symbols = symbols
        self._recent: deque[Incident] = deque()

    def __iter__(self) -> Iterator[Incident]:
        return iter(self._recent)

    def find_or_open(self, event: VictimEvent) -> Incident:
        """Return the incident of an event.

        It is the trigger's last one if the decision is the same or, where no decision was seen, if the event cannot be
        the first of a run. Otherwise a new one is opened.
        """
        decided_at = event.decision.ktime if event.decision else None
        last = next(
            (incident for incident in reversed(self._recent) if incident.trigger_tid == event.trigger.tid), None
        )
        if last and (last.decided_at == decided_at if decided_at is not None else self._continues_run(event)):
            return last
        self._recent.append(self.new(event))
        return self._recent[-1]

    def new(self, event: VictimEvent) -> Incident:
        """Return a new incident for an event, without keeping it."""
        decided_at = event.decision.ktime if event.decision else None
        group_kill = event.memcg_version == 2 and any(memcg.oom_group for memcg in event.memcg)  # noqa: PLR2004
        id_ = incident_id(self._host, event.ktime if decided_at is None else decided_at)
        return Incident(id_, event.trigger.tid, decided_at, group_kill=group_kill)

    def pop_excess(self) -> Iterator[Incident]:
        """Remove and yield the oldest incidents beyond the limit."""
        while len(self._recent) > MAX_INCIDENTS:
            yield self._recent.popleft()

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
