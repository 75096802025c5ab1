# SPDX-License-Identifier: Apache-2.0
"""The thread in front of a receiver that may be gone: when it tries again, and what becomes of messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from support.receivers import wait_for

from ooMtrace.output import courier
from ooMtrace.output.courier import Courier
from ooMtrace.output.sink import LaterError, RefusedError
from ooMtrace.output.wake import Wake

LONG_S = 1000
"""A delay that no test waits for."""


class Receiver:
    """A transport; each connection and batch first pops the next of its failures."""

    name = "receiver"

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.always: Exception | None = None
        self.attempts: list[float] = []
        self.batches: list[list[bytes]] = []
        self.during: Callable[[], None] = lambda: None
        self.aborted = self.closed = False

    def _attempt(self) -> None:
        self.attempts.append(time.monotonic())
        self.during()
        if failure := self.failures.pop(0) if self.failures else self.always:
            raise failure

    def connect(self) -> None:
        self._attempt()

    def send(self, messages: Sequence[bytes]) -> int:
        self._attempt()
        self.batches.append(list(messages))
        return len(messages)

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def queue(receiver, said) -> Iterator[Courier]:
    queue = Courier(receiver, said.append, Wake())
    yield queue
    queue.close()


def never_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "FIRST_DELAY_S", LONG_S)
    monkeypatch.setattr(courier, "LONGEST_DELAY_S", LONG_S)


def test_attempts_are_further_and_further_apart_up_to_a_limit(receiver, said, monkeypatch):
    monkeypatch.setattr(courier, "FIRST_DELAY_S", 0.02)
    monkeypatch.setattr(courier, "LONGEST_DELAY_S", 0.08)
    receiver.always = LaterError("gone")
    queue = Courier(receiver, said.append, Wake())
    queue.put(b"line")
    wait_for(lambda: len(receiver.attempts) >= 7)
    queue.close()

    gaps = [later - earlier for earlier, later in zip(receiver.attempts, receiver.attempts[1:], strict=False)]
    for gap, delay in zip(gaps, (0.02, 0.04, 0.08, 0.08, 0.08, 0.08), strict=False):
        assert gap >= delay / 2
    assert queue._delay == 0.08


def test_a_success_makes_the_next_delay_short_again(queue, receiver, said, monkeypatch):
    monkeypatch.setattr(courier, "FIRST_DELAY_S", 0.001)
    receiver.failures = [LaterError("gone")] * 3
    queue.put(b"line")
    wait_for(lambda: not queue.held)
    wait_for(lambda: queue._delay == courier.FIRST_DELAY_S)


@pytest.mark.parametrize("ask", [Courier.reopen, Courier.hurry])
def test_a_waiting_thread_tries_at_once_when_it_is_asked_to(said, receiver, monkeypatch, ask):
    never_soon(monkeypatch)
    receiver.failures = [LaterError("gone")]
    queue = Courier(receiver, said.append, Wake())
    queue._delay = LONG_S / 2
    queue.put(b"line")
    wait_for(lambda: queue._delay == LONG_S)
    ask(queue)
    wait_for(lambda: receiver.batches == [[b"line"]])
    queue.close()


def test_what_is_asked_during_an_attempt_that_fails_is_not_forgotten(said, receiver, monkeypatch):
    never_soon(monkeypatch)
    queue = Courier(receiver, said.append, Wake())
    receiver.failures = [LaterError("gone")]
    receiver.during = lambda: receiver.failures and queue.reopen()
    queue.put(b"line")
    wait_for(lambda: receiver.batches == [[b"line"]])
    queue.close()


def test_at_the_end_of_the_run_attempts_go_on_often(said, receiver, monkeypatch):
    never_soon(monkeypatch)
    monkeypatch.setattr(courier, "HURRIED_DELAY_S", 0.01)
    receiver.always = LaterError("gone")
    queue = Courier(receiver, said.append, Wake())
    queue.put(b"line")
    queue.hurry()
    wait_for(lambda: len(receiver.attempts) >= 5)
    queue.close()


def test_close_ends_a_thread_that_waits_and_releases_the_receiver(said, receiver, monkeypatch):
    never_soon(monkeypatch)
    receiver.failures = [LaterError("gone")]
    queue = Courier(receiver, said.append, Wake())
    queue.put(b"line")
    wait_for(lambda: bool(receiver.attempts))
    assert not receiver.aborted
    queue.close()
    assert receiver.aborted
    assert receiver.closed
    assert queue._thread is not None
    assert not queue._thread.is_alive()


def test_a_batch_has_64_messages_at_most_and_all_arrive_in_order(said, receiver, monkeypatch):
    queue = Courier(receiver, said.append, Wake())
    monkeypatch.setattr(queue, "start", lambda: None)
    sent = [b"%d" % n for n in range(150)]
    assert all(queue.put(each) for each in sent)
    Courier.start(queue)
    wait_for(lambda: not queue.held)
    queue.close()
    assert [len(batch) for batch in receiver.batches] == [64, 64, 22]
    assert [message for batch in receiver.batches for message in batch] == sent


def test_what_is_refused_is_counted_once_and_makes_room(said, receiver):
    queue = Courier(receiver, said.append, Wake(), limit_bytes=10)
    receiver.failures = [LaterError("gone"), RefusedError("too long", 1, 1)]
    assert queue.put(b"0123456789")
    assert not queue.put(b"x")
    wait_for(lambda: not queue.held)
    assert (queue.take_refused(), queue.take_refused()) == (1, 0)
    assert queue.put(b"9876543210")
    wait_for(lambda: receiver.batches == [[b"9876543210"]])
    queue.close()


def test_each_error_is_said_once_and_so_is_its_end(queue, receiver, said, monkeypatch):
    monkeypatch.setattr(courier, "LONGEST_DELAY_S", 0.001)
    receiver.failures = [LaterError("gone")] * 3 + [LaterError("full")] * 2
    queue._delay = 0.001
    queue.put(b"line")
    wait_for(lambda: not queue.held)
    assert said == []
    queue.flush()
    kept = "lines are kept in memory until it takes them"
    assert said == [f"gone; {kept}", f"full; {kept}", "receiver: works again"]
