# SPDX-License-Identifier: Apache-2.0
"""The way of the data, in one place: probe -> decode -> assemble -> enrich."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ooMtrace.assemble import Assembler
from ooMtrace.enrich import Enricher
from ooMtrace.enrich.command import command
from ooMtrace.enrich.host import host
from ooMtrace.enrich.job import job
from ooMtrace.enrich.network import network
from ooMtrace.enrich.privacy import privacy
from ooMtrace.enrich.process import process
from ooMtrace.enrich.service import service
from ooMtrace.enrich.user import user_name
from ooMtrace.errors import DecodeError
from ooMtrace.kernel.features import Features
from ooMtrace.kernel.now import now
from ooMtrace.kernel.plan import Plan
from ooMtrace.probe.decode import decode
from ooMtrace.probe.loader import Probe
from ooMtrace.record import OomKill, missing
from ooMtrace.sighting import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is told of a kill.

    Attributes:
        dying: Whether processes that were already dying are reported, too.
        lifecycle: Whether the ends of victims are reported, too.
        environment: Names of the environment variables that may be told.
        command: Whether titles and arguments are told.
        network: Whether the addresses of the victim's network namespace are looked up.
        services: Names of ports, before all others.
        patience: How many times as long as usual a line waits for what belongs to it.
        host_pids: Whether /proc lists processes by the host's numbers.
    """

    dying: bool = False
    lifecycle: bool = False
    environment: tuple[str, ...] = ()
    command: bool = True
    network: bool = True
    services: Mapping[int, str] = field(default_factory=dict)
    patience: float = 1.0
    host_pids: bool = True


def enrichers(settings: Settings) -> tuple[Enricher, ...]:
    """Return what user space adds, in this order: nothing that privacy has not seen may follow from a command.

    Where /proc has other numbers than the host's, a look at a victim's would tell of a stranger.
    """
    looked_up = (network(search=settings.host_pids),) if settings.network else ()
    return (
        *((process(),) if settings.host_pids else ()),
        user_name(),
        *((command(),) if settings.host_pids else ()),
        service(settings.services),
        privacy(command=settings.command),
        job(),
        *looked_up,
    )


class Tracer:
    """Kills as they happen, from construction to `close`.

    Args:
        plan: What to attach.
        features: The kernel that the plan was made for.
        warn: Takes one line about something that went wrong without being the end.
        settings: What is told.

    Raises:
        CannotTraceError: BCC is not there.
        ProbeError: The kernel refused.
    """

    def __init__(self, plan: Plan, features: Features, warn: Callable[[str], None], settings: Settings) -> None:
        self._probe = Probe(plan, features.release)
        self._assembler = Assembler(
            host(),
            features.symbols,
            plan.level,  # type: ignore[arg-type]
            dying=settings.dying,
            exits=settings.lifecycle,
            environment=settings.environment,
            patience=settings.patience,
        )
        self._enrichers = enrichers(settings)
        self._warn = warn
        self._seq = 0
        self._dropped = 0

    def close(self) -> None:
        """Detach the probes."""
        self._probe.close()

    def fds(self) -> list[int]:
        """Return the file descriptors that become readable when something dies."""
        return self._probe.fds()

    def timeout_ms(self) -> int | None:
        """Return how long to wait at most before `kills` has something; None: for ever."""
        due = self._assembler.next_due()
        return None if due is None else max(0, -(-(due - time.monotonic_ns()) // 1_000_000))

    def kills(self) -> Iterator[OomKill]:
        """Yield what has arrived, without waiting."""
        records = self._probe.read()
        if records:  # what was written to one CPU's buffer before may have been passed over
            records += self._probe.read()
        moment = now()
        self._dropped += self._probe.take_lost()
        for seen in sorted(self._decoded(records), key=lambda seen: seen.ktime):
            yield from self._finished(self._assembler.add(seen, moment))
        yield from self._finished(self._assembler.due(moment.monotonic))

    def rest(self) -> Iterator[OomKill]:
        """Yield all that has arrived and all that still waits: nothing more will come."""
        yield from self.kills()
        yield from self._finished(self._assembler.due(1 << 63))

    def _decoded(self, records: Iterable[bytes]) -> Iterator[Record]:
        for record in records:
            try:
                yield decode(record)
            except DecodeError as error:
                self._dropped += 1
                self._warn(str(error))

    def _finished(self, kills: Iterable[OomKill]) -> Iterator[OomKill]:
        for kill in kills:
            for enrich in self._enrichers:
                kill = enrich(kill)  # noqa: PLW2901 (the chain is the point)
            self._seq += 1
            dropped, self._dropped = self._dropped or None, 0
            yield replace(kill, seq=self._seq, missing=tuple(missing(kill)) + kill.missing, dropped_before=dropped)
