# SPDX-License-Identifier: Apache-2.0
"""From the event of a SIGKILL to its record, and which of them are one incident. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator

from ooMtrace import record
from ooMtrace.assemble.to_record import incident_id
from ooMtrace.assemble.victim_context import join_path
from ooMtrace.assemble.victim_facts import cgroup_of, memory_of, namespace_of, process_of
from ooMtrace.events import Rss, Sigkill, Task
from ooMtrace.kernel.cmdline import Cmdline, parse_cmdline
from ooMtrace.kernel.snapshot import HostSnapshot
from ooMtrace.record.message import describe_process
from ooMtrace.settings import Level

BURST_NS = 1_000_000_000
"""SIGKILLs of one sender to one cgroup with less time between them are one incident."""

CGROUP_KILL_NS = 100_000_000
"""The same for SIGKILLs of a thread through cgroup.kill, in whichever cgroup below: one write sends them in a row."""

MAX_INCIDENTS = 256
MAX_VICTIMS = 1024

UNKNOWN_RSS = Rss(None, None, None, None)


class SigkillAssembler:
    """Turns events into records, one for each process, and numbers incidents.

    Args:
        host: The machine.
        level: The level reached.
    """

    def __init__(self, host: record.Host, level: Level) -> None:
        self._host = host
        self._level = level
        self._incidents: OrderedDict[Hashable, tuple[str, int]] = OrderedDict()
        self._victims: OrderedDict[tuple[int | None, int], None] = OrderedDict()

    def add(self, events: Iterable[Sigkill], snapshot: HostSnapshot) -> Iterator[record.Sigkill]:
        """Yield a record for each process that had none; `snapshot` is the host after the events were read."""
        for event in sorted(events, key=lambda event: event.ktime):
            if self._is_new(event):
                yield _to_record(event, self._incident(event), snapshot, self._host, self._level)

    def _is_new(self, event: Sigkill) -> bool:
        """Say whether this process has no record: before 5.16 a second signal to another thread is delivered, too."""
        start = event.victim.start_boottime
        if start is None:
            return True
        victim = (event.victim.task.pid, start)
        if victim in self._victims:
            return False
        _keep(self._victims, victim, None, MAX_VICTIMS)
        return True

    def _incident(self, event: Sigkill) -> str:
        cgroup = "cgroup.kill" if event.cgroup_kill else (event.memcg_id, event.unified_id)
        key = (event.sender.pid, event.sender.tid if event.cgroup_kill else None, event.cgroup_kill, cgroup)
        name, last = self._incidents.get(key, ("", 0))
        if not name or event.ktime - last >= (CGROUP_KILL_NS if event.cgroup_kill else BURST_NS):
            name = incident_id(self._host, event.ktime)
        _keep(self._incidents, key, (name, event.ktime), MAX_INCIDENTS)
        return name


def _keep(store: OrderedDict, key: Hashable, value: object, limit: int) -> None:  # type: ignore[type-arg]
    store[key] = value
    store.move_to_end(key)
    if len(store) > limit:
        store.popitem(last=False)


def _to_record(
    event: Sigkill, incident: str, snapshot: HostSnapshot, host: record.Host, fidelity: Level
) -> record.Sigkill:
    cmdline = None if event.exec_args is None else parse_cmdline(*event.exec_args)
    process = _process(event, cmdline, snapshot)
    return record.Sigkill(
        id=f"{incident_id(host, event.ktime)}-{event.victim.task.pid or event.victim.task.tid}",
        time=snapshot.from_monotonic(event.ktime),
        observed=snapshot.from_monotonic(snapshot.monotonic),
        message=f"{describe_process(process)} was killed: SIGKILL",
        fidelity=fidelity,
        derived=() if process.command_args is None else ("process.command_args",),
        truncated=("process.command_args",) if cmdline is not None and cmdline.cut else None,
        host=host,
        sigkill=record.SigkillFacts(
            incident=incident, via_cgroup_kill=event.cgroup_kill or None, sender=_sender(event.sender, event)
        ),
        process=process,
        namespace=namespace_of(event.victim),
        cgroup=_cgroup(event),
    )


def _sender(task: Task, event: Sigkill) -> record.Sender:
    return record.Sender(
        pid=task.pid,
        tid=task.tid if task.tid != task.pid else None,
        vpid=task.vpid if task.vpid != task.pid else None,
        comm=task.comm,
        user=record.User(id=event.sender_uid),
        cgroup=_sender_path(event),
    )


def _sender_path(event: Sigkill) -> str | None:
    """Return the path of its memory cgroup, or that in version 2 where the former is the root."""
    paths = [join_path(path) for path in (event.sender_memcg_path, event.sender_unified_path)]
    return next((path for path in paths if path not in (None, "/")), paths[0])


def _process(event: Sigkill, cmdline: Cmdline | None, snapshot: HostSnapshot) -> record.Process:
    victim = event.victim
    rss = victim.rss if victim.rss_sum == UNKNOWN_RSS else victim.rss_sum
    resident = sum(pages or 0 for pages in (rss.anon, rss.file, rss.shmem))
    memory = memory_of(victim, _not_negative(rss), resident, snapshot.page_size)
    return process_of(victim, memory, snapshot, command_args=cmdline.args if cmdline else None)


def _not_negative(rss: Rss) -> Rss:
    """Return counters without those below 0, as one that is not the sum of all CPUs' parts may be."""
    values = (None if pages is None else max(pages, 0) for pages in (rss.file, rss.anon, rss.swap, rss.shmem))
    return Rss(*values)


def _cgroup(event: Sigkill) -> record.Cgroup | None:
    if event.memcg_id is None:
        return None
    return cgroup_of(event.memcg_id, event.memcg_path, event.memcg_version, event.unified_id, event.unified_path)
