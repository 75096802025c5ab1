# SPDX-License-Identifier: Apache-2.0
"""Where lines go out, and where it is kept in mind what has gone out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ooMtrace.output.encode import encode
from ooMtrace.output.outbox import Outbox
from ooMtrace.reconcile.checkpoint import State, parse
from ooMtrace.reconcile.state_dir import StateFolder
from ooMtrace.record import Line
from ooMtrace.runtime.pipeline import Tracer

PATIENCE_S = 5
"""For who reads our output, when we end."""

STATE = "settled"
"""The file in the state folder."""


class Kept:
    """What the run before has left, and what this one leaves; without a folder nothing."""

    def __init__(self, folder: StateFolder | None, say: Callable[[str], None]) -> None:
        self._folder = folder
        text = folder.read(STATE) if folder else None
        self.state = None if text is None else parse(text)
        if text is not None and self.state is None:
            say("what an earlier run has left is damaged; kills since then can't be told: see `oomtrace logs`")

    def keep(self, state: State | None) -> None:
        """Write it down, if it is news."""
        if self._folder is None or state is None:
            return
        if self.state is None or (state.boot_id, state.oom_kill) != (self.state.boot_id, self.state.oom_kill):
            self._folder.write(STATE, state.dump())
            self.state = state


@contextmanager
def kept(path: Path | None, say: Callable[[str], None]) -> Iterator[Kept]:
    """Have the state folder for us alone."""
    if path is None:
        yield Kept(None, say)
        return
    with StateFolder(path) as folder:
        yield Kept(folder, say)


class Desk:
    """Puts lines out as far as that is possible now.

    Attributes:
        refused: How many lines found no room, and are neither made up for nor announced yet.
    """

    def __init__(self, tracer: Tracer, outbox: Outbox, memory: Kept, *, pretty: bool) -> None:
        self._tracer = tracer
        self._outbox = outbox
        self._memory = memory
        self._pretty = pretty
        self.refused = 0

    def work(self) -> None:
        """Put out what there is to tell, and look whether that is all."""
        self._outbox.flush()
        if self._look_is_due():
            self.refused = 0
            self.write(self._tracer.look())
        else:
            self.write(self._tracer.kills())

    def write(self, lines: Iterable[Line]) -> None:
        """Put these lines out; those that find no room are missing, and will be said to be."""
        for line in lines:
            if not self._outbox.put(encode(line, pretty=self._pretty)):
                self.refused += 1
                self._tracer.refused(line)
            self._outbox.flush()
        self._keep()

    def finish(self) -> None:
        """Put out all that is left; what nobody takes for a while stays."""
        self.write(self._tracer.rest())
        self._outbox.drain(PATIENCE_S)
        if self._outbox.empty:
            self.refused = 0
            self.write(self._tracer.look(final=True))
            self._outbox.drain(PATIENCE_S)
            self._keep()

    def timeout_ms(self) -> int | None:
        """Return how long `work` may wait at most; None: for ever."""
        look = self._tracer.look_due() if self._outbox.empty else None
        waits = [-(-(one - time.monotonic_ns()) // 1_000_000) for one in (self._tracer.due(), look) if one is not None]
        if (retry := self._outbox.retry_ms()) is not None:
            waits.append(retry)
        return max(0, min(waits)) if waits else None

    def _look_is_due(self) -> bool:
        """Say whether to look what is missing: as long as nothing goes out there is no use in finding more."""
        due = self._tracer.look_due()
        return due is not None and self._outbox.empty and due <= time.monotonic_ns()

    def _keep(self) -> None:
        if self._outbox.empty:
            self._memory.keep(self._tracer.settled())
