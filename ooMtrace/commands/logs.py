# SPDX-License-Identifier: Apache-2.0
"""`oomtrace logs`: the kills that kernel logs report, as the same lines as traced ones, and OOMs without a kill."""

from __future__ import annotations

import mmap
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from hashlib import blake2s
from itertools import chain
from pathlib import Path

from ooMtrace.commands import Say
from ooMtrace.commands.formats import formatter
from ooMtrace.commands.kill_filter import KillFilter, kill_filter
from ooMtrace.commands.kill_table import KillTable
from ooMtrace.commands.local_zone import local_zone
from ooMtrace.commands.log_file import STDIN, LogFile, stdin_has_log
from ooMtrace.commands.log_summary import LogSummary, problem
from ooMtrace.commands.log_watch import LogWatch
from ooMtrace.enrich.identity import add_identity
from ooMtrace.enrich.kubernetes import add_kubernetes
from ooMtrace.enrich.user import add_user_name
from ooMtrace.errors import UsageError
from ooMtrace.kernel.snapshot import EPOCH, HostSnapshot, rfc3339, take_snapshot
from ooMtrace.kmsg.boot_log import read_boot_log
from ooMtrace.kmsg.device import KMSG
from ooMtrace.kmsg.scanner import records
from ooMtrace.kmsg.to_record import Origin, with_seq
from ooMtrace.output.stream import StreamSink
from ooMtrace.record import Host, OomKill, OomNoKill
from ooMtrace.runtime.host import read_host

IDENTITY_BYTES = 1 << 14
"""Of a log's beginning: two logs without host and date that share these are the same."""

LEFT_OUT = "the log does not state the time or cgroup that the options ask for; see them without these options"


def run(arguments: Namespace, say: Say) -> int:
    """Write a line for each kill in the logs and each OOM without a kill, or tables of them.

    Returns:
        1 if a log could not be read to its end, was not recognized, or if kills could be neither selected nor excluded.

    Raises:
        UsageError: Options contradict each other.
    """
    if arguments.summary and arguments.pretty:
        raise UsageError("--pretty indents lines, and --summary prints none", "use one of them")
    if arguments.summary and getattr(arguments, "format", None):
        raise UsageError("--format is for lines, and --summary prints none", "use one of them")
    reader = _Reader(kill_filter(arguments), say)
    names = arguments.files or [_default_log(say)]
    with closing(StreamSink(arguments.output)) as sink:
        table, identify, add_pod_facts = KillTable(), add_identity(), add_kubernetes()
        encode = formatter(arguments, sink.fd)

        def write(found: OomKill | OomNoKill) -> None:
            found = add_pod_facts(identify(found)) if isinstance(found, OomKill) else found
            sink.write(encode(with_seq(found, reader.summary.lines)))

        for name in names:
            reader.read(LogFile(name), table.add if arguments.summary else write)
        text = reader.finish()
        if reader.summary.names and arguments.summary:
            sink.write(table.text(text).encode("utf-8", "backslashreplace"))
        elif reader.summary.names:
            say(text)
    return 1 if reader.failed else 0


def _default_log(say: Say) -> str:
    """Return stdin if something is piped in, or else the kernel's own log."""
    if not stdin_has_log():
        return str(KMSG)
    say("reading stdin; the kernel log of this host: oomtrace logs /dev/kmsg")
    return STDIN


class _Reader:
    """Reads logs one after the other.

    Attributes:
        summary: What they have so far.
        failed: Whether something could not be read or decided.
    """

    def __init__(self, chosen: KillFilter, say: Say) -> None:
        self._chosen = chosen
        self._say = say
        self._host = read_host()
        self._add_user_name = add_user_name()
        self.summary = LogSummary()
        self.failed = False

    def read(self, log: LogFile, emit: Callable[[OomKill | OomNoKill], None]) -> None:
        """Emit what is selected of a log; say what is wrong with it."""
        snapshot = take_snapshot()
        booted = snapshot.realtime - snapshot.monotonic if log.name == str(KMSG) else None
        latest = _latest(snapshot.realtime if booted else log.last_written(snapshot.realtime))
        watch = LogWatch(latest)
        before, timed = self.summary.kills, False
        for found in _records(log, snapshot, latest, watch, self._host):
            watch.count_marks &= isinstance(found, OomNoKill)
            if found.time is not None:
                timed = True
                self.summary.add_time(found.time)
            self._select(self._with_user_name(found) if isinstance(found, OomKill) else found, emit)
        kills = self.summary.kills - before
        wrong = problem(log, watch, kills)
        if wrong is not None:
            self._say(wrong)
            self.failed = True
        if wrong is None or kills or watch.first is not None:
            self.summary.add_log(log, watch, booted=booted, timed_kills=timed)

    def _with_user_name(self, kill: OomKill) -> OomKill:
        """Add the name of the user if the kill is of this boot of this host: elsewhere the id may be another's."""
        is_own = kill.host.boot_id is not None and kill.host.boot_id == self._host.boot_id
        return self._add_user_name(kill) if is_own else kill

    def _select(self, found: OomKill | OomNoKill, emit: Callable[[OomKill | OomNoKill], None]) -> None:
        choice = self._chosen.choose(found)
        self.summary.add_choice(found, choice)
        if choice == "selected":
            emit(found)

    def finish(self) -> str:
        """Return how many kills there are and which period is covered; say how many of them could not be selected."""
        if self.summary.unknown:
            self._say(f"{self.summary.unknown} of {self.summary.total()} left out: {LEFT_OUT}")
            self.failed = True
        return self.summary.text(filtered=self._chosen.is_active)


def _records(
    log: LogFile, snapshot: HostSnapshot, latest: datetime, watch: LogWatch, host: Host
) -> Iterator[OomKill | OomNoKill]:
    if log.name != str(KMSG):
        head, blocks = _peek(watch.pass_on(log.blocks()))
        origin = Origin(rfc3339(snapshot.realtime), log=blake2s(head, digest_size=8).hexdigest())
        return records(blocks, origin, latest, watch.coverage)
    # The log of this boot: clock and host are known.
    blocks = watch.pass_on(log.records())
    if known := read_boot_log(host, kmsg=Path(KMSG)):
        for _ in blocks:
            pass
        return known.records()
    origin = Origin(rfc3339(snapshot.realtime), host, snapshot.realtime - snapshot.monotonic, page=mmap.PAGESIZE)
    return records(blocks, origin, latest, watch.coverage)


def _latest(realtime: int) -> datetime:
    """Return the latest time that a line may have, in the local zone: a day from now, for zones differ.

    A date that seems to be tomorrow is more likely from a time zone further east than a year old.
    """
    return (EPOCH + timedelta(microseconds=realtime // 1000)).astimezone(local_zone()) + timedelta(days=1)


def _peek(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the beginning of a log, the same however it is split into blocks, and the whole log."""
    first = b""
    while len(first) < IDENTITY_BYTES and (block := next(blocks, b"")):
        first += block
    return first[:IDENTITY_BYTES], chain((first,), blocks)
