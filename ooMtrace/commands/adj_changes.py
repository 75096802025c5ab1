# SPDX-License-Identifier: Apache-2.0
"""`oomtrace scores --adj-changes`: who changes whose oom_score_adj, as it happens."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterable
from contextlib import closing, nullcontext

from ooMtrace.commands import Say
from ooMtrace.errors import ProbeError, UsageError
from ooMtrace.kernel.features import observe
from ooMtrace.kernel.snapshot import take_snapshot
from ooMtrace.output.encode import dump_line
from ooMtrace.output.stream import StreamSink
from ooMtrace.probe.image_cache import open_cache
from ooMtrace.probe.loader import Probe
from ooMtrace.runtime.capabilities import drop_all_but, has_bpf, needed
from ooMtrace.runtime.poller import Poller
from ooMtrace.scores.adj_change import MAX_CHANGES, MAX_PROCESS_CHANGES, AdjChange, change_plain, change_text
from ooMtrace.scores.adj_plan import adj_plan, read_format
from ooMtrace.scores.adj_source import AdjSource, read_values

COUNT_MS = 1000
"""How often it is looked whether changes were dropped."""

DRAIN_S = 2
"""How long a reader may take at the end."""

DROPPED = (
    f"reported are at most {MAX_PROCESS_CHANGES} a second of one process and {MAX_CHANGES} of all together,"
    " and no more than the reader of the output takes"
)


def trace_changes(arguments: Namespace, say: Say, *, host_pids: bool) -> int:
    """Print each change until Ctrl-C, SIGTERM or the end of the reader.

    Args:
        arguments: Of `oomtrace scores`.
        say: Takes messages.
        host_pids: Whether /proc lists processes by the pids that the kernel reports.

    Raises:
        UsageError: Another option has no effect here.
        CannotTraceError: This host, or this user on it, cannot trace them.
        ProbeError: The compiler or the kernel rejected the program.
    """
    _check(arguments)
    with closing(_attached(say)) as probe, closing(StreamSink()) as sink:
        source = AdjSource(probe, say, read_values if host_pids else dict)
        drop_all_but(needed(network=False, files=False, has_bpf=has_bpf()), say)
        sink.never_wait()
        say("tracing changes of oom_score_adj; Ctrl-C ends")
        _print(source, probe, sink, say, json=arguments.json)
    return 0


def _check(arguments: Namespace) -> None:
    given = {
        "--cgroup": arguments.cgroup is not None,
        "--pid": arguments.pid is not None,
        "--pss": arguments.pss,
        "--watch": arguments.watch,
    }
    unused = [name for name, is_given in given.items() if is_given]
    if unused:
        raise UsageError(f"{unused[0]} has no effect with --adj-changes", "leave out one of the two")


def _attached(say: Say) -> Probe:
    cache = open_cache(say)
    with closing(cache) if cache else nullcontext():
        features = observe(store=cache)
        plan = adj_plan(features, read_format())
        try:
            return Probe(plan, features.release, cache)
        except ProbeError as error:
            fact = error.fact.removeprefix(f"level {plan.level}: ")
            hint = "add --verbose to see the compiler's and the verifier's log"
            raise ProbeError(f"changes of oom_score_adj cannot be traced: {fact}", hint, error.detail) from error


def _print(source: AdjSource, probe: Probe, sink: StreamSink, say: Say, *, json: bool) -> None:
    """Print what comes; while the output takes nothing, the perf buffers fill and the kernel side counts the rest."""
    pending, dropped = b"", 0
    with Poller(lambda: () if pending else probe.fds(), sink.fd) as poller:
        while not poller.stopped and not poller.reader_gone:
            pending = pending or _lines(source.changes(), json=json)
            pending = pending[sink.write_some(pending) :] if pending else b""
            if (now := source.dropped()) != dropped:
                say(f"{now - dropped} changes of oom_score_adj are not reported: {DROPPED}")
                dropped = now
            poller.wait(COUNT_MS, (sink.fd,) if pending else ())
        if not poller.reader_gone:
            _drain(pending + _lines(source.changes(), json=json), sink)


def _drain(pending: bytes, sink: StreamSink) -> None:
    """Write what is left, unless the reader has stopped reading."""
    deadline = time.monotonic() + DRAIN_S
    while pending and time.monotonic() < deadline:
        if sink.writable(100):
            pending = pending[sink.write_some(pending) :]


def _lines(changes: Iterable[AdjChange], *, json: bool) -> bytes:
    found = list(changes)
    if not found:
        return b""
    now = take_snapshot()
    if json:
        return b"".join(dump_line(change_plain(change, now.from_monotonic(change.ktime))) for change in found)
    rows = (change_text(change, now.from_monotonic(change.ktime)) for change in found)
    return "".join(rows).encode("utf-8", "backslashreplace")
