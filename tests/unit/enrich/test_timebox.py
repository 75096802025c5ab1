# SPDX-License-Identifier: Apache-2.0
"""Tasks that end in time, that overrun, and that cannot be started."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ooMtrace.enrich.timebox import TimeBoxedWorker


class Hanging:
    """A task that runs until it is released."""

    def __init__(self) -> None:
        self._released = threading.Event()
        self.threads: list[threading.Thread] = []

    def __call__(self) -> None:
        self.threads.append(threading.current_thread())
        self._released.wait(60)

    def release(self) -> None:
        self._released.set()
        for thread in self.threads:
            thread.join(10)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    task = Hanging()
    yield task
    task.release()


def test_a_task_that_ends_in_time_has_ended_when_run_returns():
    worker, found = TimeBoxedWorker("worker", 10), []

    assert worker.run(lambda: found.append(threading.current_thread().name)) is True

    assert found == ["worker"]
    assert worker.is_busy() is False


def test_run_does_not_wait_out_the_timeout_of_a_task_that_ends_in_time():
    began = time.monotonic()

    TimeBoxedWorker("worker", 10).run(lambda: None)

    assert time.monotonic() - began < 5


def test_run_returns_at_the_timeout_of_a_task_that_overruns(hanging):
    worker = TimeBoxedWorker("worker", 0.05)
    began = time.monotonic()

    assert worker.run(hanging) is True

    assert 0.05 <= time.monotonic() - began < 5
    assert worker.is_busy() is True


def test_no_task_is_started_and_nothing_waits_while_another_overruns(hanging):
    worker, started = TimeBoxedWorker("worker", 0.05), []
    worker.run(hanging)
    began = time.monotonic()

    assert [worker.run(lambda: started.append(1)) for _ in range(100)] == [False] * 100

    assert time.monotonic() - began < 1
    assert started == []


def test_after_an_overrun_has_ended_tasks_are_started_again(hanging):
    worker, started = TimeBoxedWorker("worker", 0.05), []
    worker.run(hanging)
    hanging.release()

    assert worker.is_busy() is False
    assert worker.run(lambda: started.append(1)) is True
    assert started == [1]


def test_an_overrun_does_not_prevent_the_process_from_exiting(hanging):
    TimeBoxedWorker("worker", 0.05).run(hanging)

    assert [thread.daemon for thread in hanging.threads] == [True]


def test_a_task_is_not_started_if_no_thread_can_be(monkeypatch):
    def refuse(_):
        raise RuntimeError("cannot start new thread")

    worker, started = TimeBoxedWorker("worker", 10), []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert worker.run(lambda: started.append(1)) is False
    assert worker.is_busy() is False

    assert worker.run(lambda: started.append(2)) is True
    assert started == [2]
