# SPDX-License-Identifier: Apache-2.0
"""All outputs of a run: each has its own queue, and none delays another."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ooMtrace.errors import SinkError
from ooMtrace.output.channel import Channel
from ooMtrace.output.lines import Lines
from ooMtrace.output.sink import ClosedPipeError, LaterError
from ooMtrace.output.wake import Wake
from ooMtrace.settings import Level

if TYPE_CHECKING:
    from ooMtrace.output.metrics import Metrics
    from ooMtrace.record import Record


class Outputs:
    """Gives each line to every output that has room for it. Only `drain` blocks.

    A line is written if at least one output has taken it. The others count it, and announce it in their own next line
    (`output_dropped_before`).

    Args:
        channels: The outputs.
        say: Takes one line for the operator.
        wake: Set by the threads of outputs; None: no output has one.
        metrics: Count every record that has its line; None: nobody asks for them.
        needs_files: Whether an output opens files or sockets by path later on.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        say: Callable[[str], None],
        wake: Wake | None = None,
        metrics: Metrics | None = None,
        *,
        needs_files: bool = False,
    ) -> None:
        self._channels = list(channels)
        self._say = say
        self._wake = wake
        self._metrics = metrics
        self.needs_files = needs_files
        if metrics is not None:
            metrics.dropped_lines = self._dropped_lines

    @property
    def empty(self) -> bool:
        """Whether an output has written all that it took."""
        return any(channel.empty for channel in self._carriers() or self._live())

    @property
    def has_stdout(self) -> bool:
        """Whether stdout is among them."""
        return any(channel.queue.name == "stdout" for channel in self._channels)

    def start(self, level: Level) -> None:
        """Start the threads: after capabilities were dropped, which a thread that runs already would keep."""
        if self._metrics is not None:
            self._metrics.level = level
        for channel in self._channels:
            channel.queue.start()

    def put(self, record: Record) -> bool:
        """Give a record to all outputs; return False if none has room for its line."""
        lines = Lines(record)
        carriers = self._carriers()
        refused = [channel for channel in carriers if not channel.offer(lines)]
        if carriers and len(refused) == len(carriers):
            return False
        for channel in refused:
            channel.drop()
        if self._metrics is not None:
            self._metrics.count(record)
        for channel in self._live():
            if not channel.carries_lines:
                channel.offer(lines)
        return True

    def flush(self) -> None:
        """Write what can be written now; raises SinkError if no output can ever take more."""
        if self._wake is not None:
            self._wake.clear()
        for channel in self._live():
            try:
                channel.queue.flush()
            except SinkError as error:
                self._fail(channel, error)

    def lose_reader(self) -> bool:
        """Note that nobody reads stdout any more; return whether another output is left."""
        for channel in self._live():
            if channel.queue.name == "stdout" and len(self._live()) > 1:
                self._fail(channel, ClosedPipeError("the reader has closed the output"))
        return any(channel.queue.name != "stdout" for channel in self._live())

    def fds(self) -> list[int]:
        """Return the file descriptors that become readable when `flush` has something to do."""
        return [] if self._wake is None else [self._wake.fd]

    def blocked_fds(self) -> list[int]:
        """Return the file descriptors to poll for writability."""
        fds = (channel.queue.blocked_fd() for channel in self._live())
        return [fd for fd in fds if fd is not None]

    def retry_ms(self) -> int | None:
        """Return after how many milliseconds to flush again; None: not before something happens."""
        waits = (channel.queue.retry_ms() for channel in self._live())
        return min((wait for wait in waits if wait is not None), default=None)

    def reopen(self) -> None:
        """Reopen files, and connect again at once."""
        for channel in self._live():
            try:
                channel.queue.reopen()
            except LaterError as error:
                self._say(f"{error.fact}; still writing to the file that was open before")

    def drain(self, seconds: float) -> None:
        """Write what is queued, and wait for that no longer than this; no second time for an output that was late."""
        deadline = time.monotonic() + seconds
        waiting = [channel for channel in self._live() if not channel.is_late]
        for channel in waiting:
            channel.queue.hurry()
        self.flush()
        while self._is_any_left(waiting) and (left := deadline - time.monotonic()) > 0:
            self._wait(int(left * 1000) + 1)
            self.flush()
        self.flush()  # what was said with the last line
        for channel in waiting:
            channel.is_late = not channel.empty

    def check_all_written(self, dropped: int) -> None:
        """Raise SinkError if lines were not written.

        Args:
            dropped: How many records no output had room for.
        """
        short = [channel for channel in self._channels if channel.unwritten]
        if len(self._channels) == 1 and (unwritten := dropped + self._channels[0].unwritten):
            raise SinkError(f"{unwritten} lines could not be written", "check the reader and the free space")
        for channel in short:
            self._say(f"{channel.queue.name}: {channel.unwritten} lines could not be written")
        if short or dropped:
            also = f"; {dropped} lines could not be written to any" if dropped else ""
            raise SinkError(f"{len(short)} of {len(self._channels)} outputs lack lines{also}", "check the receivers")

    def close(self) -> None:
        """Discard what is queued, and close all outputs."""
        for channel in self._channels:
            channel.queue.close()

    def _live(self) -> list[Channel]:
        return [channel for channel in self._channels if not channel.is_failed]

    def _carriers(self) -> list[Channel]:
        return [channel for channel in self._live() if channel.carries_lines]

    def _dropped_lines(self) -> dict[str, int]:
        dropped: dict[str, int] = {}
        for channel in self._channels:
            if channel.carries_lines:
                dropped[channel.queue.name] = dropped.get(channel.queue.name, 0) + channel.total_dropped
        return dropped

    def _is_any_left(self, channels: Sequence[Channel]) -> bool:
        return any(not channel.empty and not channel.is_failed for channel in channels)

    def _wait(self, timeout_ms: int) -> None:
        poll = select.poll()
        for fd in self.fds():
            poll.register(fd, select.POLLIN)
        for fd in self.blocked_fds():
            poll.register(fd, select.POLLOUT)
        retry = self.retry_ms()
        poll.poll(timeout_ms if retry is None else min(timeout_ms, retry))

    def _fail(self, channel: Channel, error: SinkError) -> None:
        """Go on without an output, unless it is the last one."""
        if len(self._live()) == 1:
            raise error
        channel.is_failed = True
        self._say(f"{channel.queue.name}: {error.fact}; the other outputs continue")
