# SPDX-License-Identifier: Apache-2.0
"""From probe events to kills: one OomKill per process, emitted when it is complete. No I/O; time is passed in."""

from __future__ import annotations

from collections.abc import Iterator

from ooMtrace import record
from ooMtrace.assemble.attribution import Symbols
from ooMtrace.assemble.event_store import EventStore
from ooMtrace.assemble.incident import Incident, Incidents, SignalKey, VictimDeath
from ooMtrace.assemble.record_builder import RecordBuilder
from ooMtrace.assemble.to_record import to_exit_record
from ooMtrace.events import Context, Exit, Kind, LinePart, Ranking, VictimEvent
from ooMtrace.kernel.snapshot import HostSnapshot
from ooMtrace.settings import Level

SHARER_TIMEOUT_NS = 20_000_000
"""A process that shares a victim's memory may be marked itself a moment later, as a member of the same group. Its line
is held this long. The kernel does all this in one loop, without sleeping.
"""

GROUP_TIMEOUT_NS = 100_000_000
"""The lines of a group kill state the number of members. They are held until no member has followed for this long.
Between two members the kernel prints one line to its console, which may be slow.
"""

CONTEXT_TIMEOUT_NS = 250_000_000
"""A line is held this long for the victim's context. The victim must run for its context to be read: usually within a
few milliseconds, but never while it sleeps uninterruptibly. The time counts from when the kill was read here, not from
the mark: when this process is late, so is the victim. --timeout-factor multiplies this and the timeout of a group.
"""


class Assembler:
    """Combines the events of each victim into a record, and emits it when complete or at its deadline.

    Args:
        host: The machine, the same in every line.
        symbols: Address ranges of kernel functions, to identify the code path of a kill.
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
        self._all = all
        self._lifecycle = lifecycle
        self._context_timeout = int(CONTEXT_TIMEOUT_NS * timeout_factor)
        self._group_timeout = int(GROUP_TIMEOUT_NS * timeout_factor)
        self._incidents = Incidents(host, symbols)
        self._store = EventStore()
        self._builder = RecordBuilder(host, symbols, level, env)

    def add(self, event: LinePart, snapshot: HostSnapshot) -> Iterator[record.OomKill]:
        """Take one event, in the order of the kernel's clock, and yield the records that it completes.

        `snapshot` is the host when the event was read.
        """
        if isinstance(event, Ranking):
            self._store.add_ranking(event)
        elif isinstance(event, Context):
            self._attach_context((event.pid, event.signalled_at), event)
        elif isinstance(event, Exit):
            self._store.add_exit((event.pid, event.signalled_at), event, snapshot)
            yield from self._emit_exit((event.pid, event.signalled_at))
        elif event.kind is not Kind.DYING:
            self._admit(event, snapshot)
            for incident in self._incidents.pop_excess():
                yield from self._emit(incident, incident.take(lambda death: True))
        elif self._all:
            yield self._builder.build(self._incidents.new(event), VictimDeath(event, snapshot, "dying"))
        yield from self.due(snapshot.monotonic)

    def due(self, monotonic: int) -> Iterator[record.OomKill]:
        """Yield the records that are complete, or whose deadline has passed at `monotonic` (CLOCK_MONOTONIC ns)."""
        for incident in self._incidents.holding():
            if not incident.group_kill or incident.complete_at <= monotonic:  # no member of a group is ready before
                yield from self._emit_ready(incident, monotonic)

    def next_due(self) -> int | None:
        """Return the earliest deadline of a held line (CLOCK_MONOTONIC ns); None if no line is held."""
        deadlines = (
            self._deadline(incident, death)
            for incident in self._incidents.holding()
            for death in incident.held.values()
        )
        return min(deadlines, default=None)

    def _deadline(self, incident: Incident, death: VictimDeath) -> int:
        """Return when the line of a victim is due at the latest; 0 if it is complete."""
        complete_at = incident.complete_at if incident.group_kill or death.verdict == "shared_mm" else 0
        if death.event.signalled_at is None or death.context:
            return complete_at
        return max(complete_at, death.snapshot.monotonic + self._context_timeout)

    def _attach_context(self, key: SignalKey, context: Context) -> None:
        """Attach a context to its victim, emitted or held; store it if the kill has not been seen yet."""
        if self._store.update_emitted(key, context):
            return
        if not any(incident.attach_context(key, context) for incident in self._incidents.holding()):
            self._store.add_context(key, context)

    def _admit(self, event: VictimEvent, snapshot: HostSnapshot) -> None:
        """Add a killed process to its incident."""
        incident = self._incidents.find_or_open(event)
        death = self._death(event, snapshot)
        if death.verdict == "shared_mm":
            incident.add_sharer(death, snapshot.monotonic + SHARER_TIMEOUT_NS)
        else:
            incident.add_killed(death, snapshot.monotonic + self._group_timeout)

    def _death(self, event: VictimEvent, snapshot: HostSnapshot) -> VictimDeath:
        """Combine a victim with what arrived before it."""
        verdict = self._incidents.verdict(event)
        ranking = self._store.ranking(event.decision.ktime) if event.decision and verdict == "killed" else None
        context = self._store.take_context((event.victim.task.pid, event.signalled_at))
        return VictimDeath(event, snapshot, verdict, ranking, context)

    def _emit_ready(self, incident: Incident, monotonic: int) -> Iterator[record.OomKill]:
        yield from self._emit(incident, incident.take(lambda death: self._deadline(incident, death) <= monotonic))

    def _emit(self, incident: Incident, deaths: list[VictimDeath]) -> Iterator[record.OomKill]:
        for death in deaths:
            yield self._builder.build(incident, death)
            if self._lifecycle:
                self._store.add_emitted(death.key, incident, death)
                yield from self._emit_exit(death.key)

    def _emit_exit(self, key: SignalKey) -> Iterator[record.OomKill]:
        """Emit the exit of a victim whose kill was emitted, with facts that were too late for that line."""
        exited = self._store.take_exited(key)
        if exited:
            emitted, exit_, snapshot = exited
            yield to_exit_record(self._builder.build(*emitted), exit_, snapshot)
