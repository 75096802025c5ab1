# SPDX-License-Identifier: Apache-2.0
"""From records to lines in the queues of the outputs, and the checkpoint that follows them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from ooMtrace.kernel.clock import Clock
from ooMtrace.output.outputs import Outputs
from ooMtrace.reconcile.checkpoint import CheckpointStore
from ooMtrace.record import OomKill, OomLost, Record, Sigkill
from ooMtrace.runtime.pipeline import Tracer

DRAIN_S = 5
"""How long the readers of the outputs have, at the end, to take what is left."""


class LineWriter:
    """Writes lines as far as the outputs take them.

    Args:
        tracer: Where records come from.
        outputs: Where lines go.
        store: Where the checkpoint is kept; it never goes beyond what at least one output has written.
        clock: Decides how long `pump` may wait.

    Attributes:
        dropped: How many records found no room in any output, and are neither backfilled nor announced yet.
        kills: How many kills have a line.
        lost: How many kills were reported as lost.
    """

    def __init__(self, tracer: Tracer, outputs: Outputs, store: CheckpointStore, *, clock: Clock = time) -> None:
        self._tracer = tracer
        self._outputs = outputs
        self._store = store
        self._clock = clock
        self._seq = 0
        self._announced_losses = 0
        self.dropped = 0
        self.kills = 0
        self.lost = 0

    def pump(self) -> None:
        """Write what has arrived, and reconcile if that is due."""
        self._outputs.flush()
        if self._is_reconcile_due():
            self.dropped = 0
            self.write(self._tracer.reconcile())
        else:
            self.write(self._tracer.records())

    def write(self, records: Iterable[Record]) -> None:
        """Write these records; one that finds no room is dropped, and so pending again."""
        for record in records:
            self._offer(record)
            self._outputs.flush()
        self._save_checkpoint()

    def finish(self) -> None:
        """Write all that is left; what a reader does not take in time stays in its queue."""
        self.write(self._tracer.drain())
        self._outputs.drain(DRAIN_S)
        if self._outputs.empty:
            self.dropped = 0
            self.write(self._tracer.reconcile(final=True))
            self._outputs.drain(DRAIN_S)
            self._save_checkpoint()

    def timeout_ms(self) -> int | None:
        """Return how long `pump` may be left uncalled at most; None: until something arrives."""
        due = (self._tracer.next_due(), self._tracer.reconcile_due() if self._outputs.empty else None)
        now = self._clock.monotonic_ns()
        waits = [-(-(one - now) // 1_000_000) for one in due if one is not None]
        if (retry := self._outputs.retry_ms()) is not None:
            waits.append(retry)
        return max(0, min(waits)) if waits else None

    def _offer(self, record: Record) -> None:
        """Number a record and put its line out. What no output takes uses up neither number nor loss."""
        losses = self._tracer.lost_records()
        numbered = replace(record, seq=self._seq + 1)
        if isinstance(numbered, OomKill):
            numbered = replace(numbered, dropped_before=losses - self._announced_losses or None)
        elif isinstance(numbered, Sigkill) and self._tracer.sigkills is not None:
            numbered = self._tracer.sigkills.with_losses(numbered)
        if not self._outputs.put(numbered):
            self.dropped += 1
            self._tracer.mark_dropped(record)
            return
        self._seq += 1
        if isinstance(numbered, OomKill):
            self._announced_losses = losses
            self.kills += 1
        elif isinstance(numbered, OomLost):
            self.lost += numbered.lost.count
        elif isinstance(numbered, Sigkill) and self._tracer.sigkills is not None:
            self._tracer.sigkills.accept(numbered)

    def _is_reconcile_due(self) -> bool:
        """Say whether to look for missing kills: while the output takes nothing, finding more is of no use."""
        due = self._tracer.reconcile_due()
        return due is not None and self._outputs.empty and due <= self._clock.monotonic_ns()

    def _save_checkpoint(self) -> None:
        if self._outputs.empty:
            self._store.save(self._tracer.checkpoint())
