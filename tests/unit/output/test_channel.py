# SPDX-License-Identifier: Apache-2.0
"""What an output did not write: counted once, announced in its next line, and known at the end."""

from __future__ import annotations

import orjson
import pytest
from support.probe_events import kill

from ooMtrace.output.channel import Channel
from ooMtrace.output.encode import encode
from ooMtrace.output.lines import Lines, rendered_as


class Queue:
    """Takes what there is room for; the other side then refuses what a test says."""

    def __init__(self) -> None:
        self.room = 100
        self.refused = 0
        self.messages: list[bytes] = []

    @property
    def held(self) -> int:
        return len(self.messages)

    def put(self, message: bytes) -> bool:
        if len(self.messages) >= self.room:
            return False
        self.messages.append(message)
        return True

    def take_refused(self) -> int:
        refused, self.refused = self.refused, 0
        return refused


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def channel(queue) -> Channel:
    return Channel(queue, rendered_as(encode))


def announced(queue: Queue) -> list[int | None]:
    return [orjson.loads(message).get("output_dropped_before") for message in queue.messages]


def test_what_the_other_side_refused_is_announced_once_in_the_next_line(channel, queue):
    assert channel.offer(Lines(kill())) is True
    queue.refused = 2
    assert channel.offer(Lines(kill())) is True
    assert channel.offer(Lines(kill())) is True
    assert announced(queue) == [None, 2, None]
    assert (channel.dropped, channel.total_dropped) == (0, 2)


def test_what_was_refused_last_is_unwritten(channel, queue):
    channel.offer(Lines(kill()))
    queue.refused = 3
    assert channel.unwritten == 1 + 3
    assert channel.unwritten == 1 + 3
    assert not channel.empty


def test_a_loss_is_announced_only_by_a_line_that_finds_room(channel, queue):
    queue.room = 0
    for _ in range(3):
        assert channel.offer(Lines(kill())) is False
        channel.drop()
    queue.room = 1
    queue.refused = 1
    assert channel.offer(Lines(kill())) is True
    assert announced(queue) == [4]
    assert channel.total_dropped == 4
