# SPDX-License-Identifier: Apache-2.0
"""`oomtrace`: one line for each kill, until it is stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ooMtrace.commands import Options, Say, attached
from ooMtrace.encode import encode
from ooMtrace.errors import SinkError
from ooMtrace.pipeline import Tracer
from ooMtrace.record import Line
from ooMtrace.sinks.outbox import Outbox
from ooMtrace.sinks.stream import ClosedPipeError, LaterError, StreamSink
from ooMtrace.state import State, parse
from ooMtrace.state_folder import StateFolder
from ooMtrace.waiting import Waiter

PATIENCE_S = 5
"""For who reads our output, when we end."""

STATE = "settled"
"""The file in the state folder."""


def run(options: Options, say: Say) -> int:
    """Trace until SIGINT or SIGTERM, or until nobody reads any more; return the exit code.

    Raises:
        SinkError: Not all lines could be written.
    """
    outbox = Outbox(StreamSink(options.output), say)
    output = 1 if options.output is None else None
    with (
        _kept(options.state, say) as kept,
        attached(options, say, kept.state) as tracer,
        Waiter(tracer.fds, output) as waiter,
        _ready(options.ready_file),
    ):
        desk = _Desk(tracer, outbox, kept, pretty=options.pretty)
        try:
            desk.write(tracer.earlier())
            while not waiter.stopped and not waiter.unread:
                waiter.wait(desk.timeout_ms(), outbox.blocked_fd())
                if waiter.take_hangup():
                    _reopen(outbox, say)
                outbox.flush()
                if desk.look_is_due():
                    desk.look()
                else:
                    desk.write(tracer.kills())
            desk.finish()
        except ClosedPipeError:
            return 0
        finally:
            outbox.close()
    if unwritten := desk.refused + outbox.held:
        raise SinkError(f"{unwritten} lines could not be written", "see that the output is read and has room")
    return 0


class _Desk:
    """Lines go out here, and what has gone out is kept in mind.

    Attributes:
        refused: How many lines found no room, and are neither made up for nor announced yet.
    """

    def __init__(self, tracer: Tracer, outbox: Outbox, kept: _Kept, *, pretty: bool) -> None:
        self._tracer = tracer
        self._outbox = outbox
        self._kept = kept
        self._pretty = pretty
        self.refused = 0

    def write(self, lines: Iterable[Line]) -> None:
        """Put lines out as far as that is possible now; what finds no room is missing, and will be said to be."""
        for line in lines:
            if not self._outbox.put(encode(line, pretty=self._pretty)):
                self.refused += 1
                self._tracer.refused(line)
            self._outbox.flush()
        self.keep()

    def look(self) -> None:
        """Hold what has arrived against the kernel's count, and what has been refused with it."""
        self.refused = 0
        self.write(self._tracer.look())

    def finish(self) -> None:
        """Put out all that is left; what nobody takes for a while stays."""
        self.write(self._tracer.rest())
        self._outbox.drain(PATIENCE_S)
        if self._outbox.empty:
            self.refused = 0
            self.write(self._tracer.look(final=True))
            self._outbox.drain(PATIENCE_S)
            self.keep()

    def keep(self) -> None:
        """Note what the next run need not tell again."""
        if self._outbox.empty:
            self._kept.keep(self._tracer.settled())

    def look_is_due(self) -> bool:
        """Say whether to hold what has arrived against the kernel's count; as long as nothing goes out, no."""
        due = self._tracer.look_due()
        return due is not None and self._outbox.empty and due <= time.monotonic_ns()

    def timeout_ms(self) -> int | None:
        """Return how long to wait at most; None: for ever."""
        look = self._tracer.look_due() if self._outbox.empty else None
        waits = [-(-(due - time.monotonic_ns()) // 1_000_000) for due in (self._tracer.due(), look) if due is not None]
        retry = self._outbox.retry_ms()
        return max(0, min([*waits, *([] if retry is None else [retry])])) if waits or retry is not None else None


def _reopen(outbox: Outbox, say: Say) -> None:
    try:
        outbox.reopen()
    except LaterError as error:
        say(f"{error.fact}; the file that was open before is kept")


class _Kept:
    """What the run before has left, and what this one leaves; without a folder nothing."""

    def __init__(self, folder: StateFolder | None, say: Say) -> None:
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
def _kept(path: Path | None, say: Say) -> Iterator[_Kept]:
    if path is None:
        yield _Kept(None, say)
        return
    with StateFolder(path) as folder:
        yield _Kept(folder, say)


@contextmanager
def _ready(path: Path | None) -> Iterator[None]:
    """Keep a file with our pid as long as the probes are attached."""
    if path is None:
        yield
        return
    try:
        path.write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise SinkError(f"{path}: {error.strerror}", "choose another --ready-file") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
