# SPDX-License-Identifier: Apache-2.0
"""Threads for what may hang: none while there is nothing to do, and a limited number that are stuck."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ooMtrace.runtime.background import MAX_STUCK, Background, Task


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def background() -> Background:
    return Background("background-test")


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "background-test"]


def files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_before_the_first_task_there_is_neither_a_thread_nor_a_file(background):
    before = files()
    other = Background("background-test")

    assert (background.fds(), other.fds(), threads()) == ([], [], [])
    assert files() == before
    background.clear()
    background.close()


def test_the_end_of_a_task_makes_the_file_readable_until_it_is_cleared(background, released):
    task = background.start(lambda: released.wait(60))
    assert task is not None
    poll = select.poll()
    poll.register(background.fds()[0], select.POLLIN)
    assert poll.poll(0) == []
    released.set()

    background.wait(60_000)
    assert poll.poll(0) != []
    assert task.done
    background.clear()
    assert poll.poll(0) == []


def test_a_task_runs_in_a_thread_of_its_own_that_ends_with_it(background):
    ran: list[threading.Thread] = []
    for _ in range(3):
        assert background.start(lambda: ran.append(threading.current_thread()))
        background.wait(60_000)
        background.clear()
    for thread in ran:
        thread.join(10)

    assert len(set(ran)) == 3
    assert all(thread.daemon for thread in ran)
    assert threads() == []


def test_the_number_of_stuck_threads_is_limited(background, released):
    tasks = [background.start(lambda: released.wait(60)) for _ in range(MAX_STUCK + 3)]

    assert [task is not None for task in tasks] == [True] * MAX_STUCK + [False] * 3
    assert len(threads()) == MAX_STUCK
    hanging = threads()
    released.set()
    for thread in hanging:
        thread.join(10)
    assert background.start(lambda: None) is not None


def test_a_thread_that_cannot_be_started_is_no_error(background, monkeypatch):
    def refuse(_):
        raise RuntimeError("cannot start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert background.start(lambda: None) is None

    assert background.start(lambda: None) is not None


def test_a_task_that_fails_has_ended_and_wakes_up_the_event_loop():
    ended: list[bool] = []

    def fail() -> None:
        raise LookupError("failed")

    task = Task(fail, lambda: ended.append(task.done))
    with pytest.raises(LookupError, match="failed"):
        task.run()

    assert ended == [True]


def test_closing_it_closes_the_file_unless_a_stuck_thread_may_write_to_it(background, released):
    before = files()
    background.start(lambda: None)
    background.wait(60_000)
    background.close()
    assert files() == before

    background.start(lambda: released.wait(60))
    background.close()
    assert background.fds() != []
    hanging = threads()
    released.set()
    for thread in hanging:
        thread.join(10)
    background.close()
    assert files() == before
