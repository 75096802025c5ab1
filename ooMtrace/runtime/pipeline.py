# SPDX-License-Identifier: Apache-2.0
"""The way of the data, in one place: source -> enrich -> number, and the books beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ooMtrace.assemble.assembler import Assembler
from ooMtrace.enrich import Enricher
from ooMtrace.enrich.jobs.match import job
from ooMtrace.enrich.netns_addresses import network
from ooMtrace.enrich.proc_cmdline import command
from ooMtrace.enrich.proc_status import process
from ooMtrace.enrich.redact import privacy
from ooMtrace.enrich.services import service
from ooMtrace.enrich.user import user_name
from ooMtrace.errors import ProbeError
from ooMtrace.kernel.features import Features
from ooMtrace.kernel.plan import Plan
from ooMtrace.kmsg.device import KMSG, KernelLog
from ooMtrace.probe.loader import Probe
from ooMtrace.reconcile.checkpoint import State
from ooMtrace.reconcile.reconciler import Books
from ooMtrace.record import Host, Line, OomKill, missing
from ooMtrace.runtime.host import host
from ooMtrace.sources.base import Source
from ooMtrace.sources.kmsg_source import Logged
from ooMtrace.sources.probe_source import Traced


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
        since: What an earlier run has settled.
        host_pids: Whether /proc lists processes by the host's numbers.
    """

    dying: bool = False
    lifecycle: bool = False
    environment: tuple[str, ...] = ()
    command: bool = True
    network: bool = True
    services: Mapping[int, str] = field(default_factory=dict)
    patience: float = 1.0
    since: State | None = None
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


def source(plan: Plan, features: Features, machine: Host, warn: Callable[[str], None], settings: Settings) -> Source:
    """Begin to listen.

    Raises:
        CannotTraceError: BCC is not there.
        ProbeError: The kernel refused.
    """
    if plan.level == "kmsg":
        try:
            return Logged(KernelLog(at_end=True), machine, settings.patience)
        except OSError as error:
            raise ProbeError(f"{KMSG}: {error.strerror}", "run it as root: sudo oomtrace") from error
    assembler = Assembler(
        machine,
        features.symbols,
        plan.level,  # type: ignore[arg-type]
        dying=settings.dying,
        exits=settings.lifecycle,
        environment=settings.environment,
        patience=settings.patience,
    )
    return Traced(Probe(plan, features.release), assembler, warn)


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
        machine = host()
        self._source = source(plan, features, machine, warn, settings)
        self._books = Books(self._source.counted, machine, plan.level, settings.since)  # type: ignore[arg-type]
        self._enrichers = enrichers(settings)
        self._made_up = (user_name(),)
        self._seq = 0
        self.fds = self._source.fds
        self.close = self._source.close
        self.refused = self._books.refused
        self.look_due = self._books.next_due

    def due(self) -> int | None:
        """Return when `kills` has something at the latest (CLOCK_MONOTONIC ns); None: not before the next record."""
        return self._source.next_due()

    def kills(self) -> Iterator[Line]:
        """Yield what has arrived, without waiting."""
        yield from self._finished(self._source.kills(self._books), self._enrichers)

    def rest(self) -> Iterator[Line]:
        """Yield all that has arrived and all that still waits: nothing more will come."""
        yield from self._finished(self._source.rest(self._books), self._enrichers)

    def earlier(self) -> Iterator[Line]:
        """Yield the kills since the earlier run."""
        yield from self._finished(self._books.earlier(), self._made_up)

    def look(self, *, final: bool = False) -> Iterator[Line]:
        """Hold what has arrived against the kernel's counter; yield what is made up for and what is lost.

        A difference may wait for a calmer moment, but not if this is the `final` look.
        """
        reading = self._books.read()
        yield from self.rest() if final else self.kills()
        if reading:
            yield from self._finished(self._books.look(reading, final=final), self._made_up)

    def settled(self) -> State | None:
        """Return up to where all is told; None if that can't be said now."""
        return self._books.settled() if self._source.next_due() is None else None

    def _finished(self, lines: Iterable[Line], enrichers: Iterable[Enricher]) -> Iterator[Line]:
        for line in lines:
            self._seq += 1
            if isinstance(line, OomKill):
                yield self._complete(line, enrichers)
            else:
                yield replace(line, seq=self._seq)

    def _complete(self, kill: OomKill, enrichers: Iterable[Enricher]) -> OomKill:
        for enrich in enrichers:
            kill = enrich(kill)
        return replace(
            kill,
            seq=self._seq,
            missing=tuple(missing(kill)) + kill.missing,
            dropped_before=self._source.take_lost() or None,
        )
