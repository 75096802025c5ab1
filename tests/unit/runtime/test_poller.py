# SPDX-License-Identifier: Apache-2.0
"""A wait ends when something happens, and only then."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from ooMtrace.runtime.poller import Poller


def test_a_blocked_output_ends_one_wait_and_only_when_it_is_writable():
    read, write = os.pipe()
    with Poller(list, write) as waiter:
        waiter.wait(60_000, [write])  # there is room: at once
        begin = time.monotonic()
        waiter.wait(200)
        assert time.monotonic() - begin >= 0.2
        assert not waiter.reader_gone

        os.close(read)
        waiter.wait(60_000, [write])

        assert waiter.reader_gone
    os.close(write)


def test_a_blocked_output_need_not_be_stdout():
    read, write = os.pipe()
    with Poller(list) as waiter:
        waiter.wait(60_000, [write])
        begin = time.monotonic()
        waiter.wait(200)
        assert time.monotonic() - begin >= 0.2
    os.close(read)
    os.close(write)


def test_descriptors_may_change_and_one_that_hung_up_is_watched_no_more():
    first, second = os.pipe(), os.pipe()
    fds = [first[0]]
    with Poller(lambda: fds) as waiter:
        os.close(first[1])  # POLLHUP, for ever
        waiter.wait(10_000)
        began = time.monotonic()
        waiter.wait(50)
        assert time.monotonic() - began >= 0.05
        fds[:] = [second[0]]
        os.write(second[1], b"!")
        began = time.monotonic()
        waiter.wait(10_000)
        assert time.monotonic() - began < 5
        fds.clear()
        waiter.wait(50)
        assert time.monotonic() - began >= 0.05


SHORT_MS, LONG_MS = 20, 20_000


def waited(poller: Poller, timeout_ms: int = LONG_MS) -> bool:
    """Wait, and say whether that took as long as it may."""
    begin = time.monotonic()
    poller.wait(timeout_ms)
    return time.monotonic() - begin >= timeout_ms / 1000


def test_while_nothing_happens_a_wait_takes_its_time():
    with Poller(list) as poller:
        assert waited(poller, SHORT_MS)
        assert not poller.stopped
        assert not poller.reader_gone


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_ends_this_wait_and_all_later_ones(number):
    with Poller(list) as poller:
        signal.raise_signal(number)
        assert not waited(poller)
        assert poller.stopped
        assert not waited(poller)


def test_a_signal_that_arrives_during_a_wait_ends_it():
    with Poller(list) as poller:
        timer = threading.Timer(SHORT_MS / 1000, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        assert not waited(poller)
        assert poller.stopped


def test_a_hangup_ends_one_wait_and_is_reported_once():
    with Poller(list) as poller:
        signal.raise_signal(signal.SIGHUP)
        assert not waited(poller)
        assert not poller.stopped
        assert poller.take_hangup()
        assert not poller.take_hangup()
        assert waited(poller, SHORT_MS)


def test_the_previous_handlers_are_restored():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with Poller(list):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] != before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_reader_that_goes_ends_the_wait():
    read, write = os.pipe()
    with Poller(list, write) as poller:
        assert waited(poller, SHORT_MS)
        os.close(read)
        assert not waited(poller)
        assert poller.reader_gone
    os.close(write)


def test_a_readable_descriptor_ends_the_wait():
    read, write = os.pipe()
    with Poller(lambda: [read]) as poller:
        assert waited(poller, SHORT_MS)
        os.write(write, b"x")
        assert not waited(poller)
    os.close(read)
    os.close(write)


def test_it_leaves_no_descriptor_open():
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with Poller(list) as poller:
            assert waited(poller, SHORT_MS)

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_previous_wakeup_descriptor_is_restored():
    read, write = os.pipe2(os.O_NONBLOCK)
    before = signal.set_wakeup_fd(write)
    with Poller(list):
        pass
    restored = signal.set_wakeup_fd(before)
    os.close(read)
    os.close(write)

    assert restored == write


@pytest.mark.parametrize("make", [socket.socketpair, os.openpty])
def test_a_socket_or_terminal_whose_other_end_is_closed_has_no_reader(make):
    theirs, ours = (end if isinstance(end, int) else end.detach() for end in make())
    with Poller(list, ours) as poller:
        assert waited(poller, SHORT_MS)
        os.close(theirs)
        assert not waited(poller)
        assert poller.reader_gone
    os.close(ours)


def test_a_descriptor_that_was_read_is_watched_again():
    read, write = os.pipe()
    with Poller(lambda: [read]) as poller:
        for _ in range(3):
            os.write(write, b"x")
            assert not waited(poller)
            os.read(read, 1)
            assert waited(poller, SHORT_MS)
    os.close(read)
    os.close(write)


def test_after_a_wait_for_a_blocked_output_its_reader_is_still_watched():
    read, write = os.pipe()
    with Poller(list, write) as poller:
        poller.wait(LONG_MS, [write])
        os.close(read)
        assert not waited(poller)
        assert poller.reader_gone
    os.close(write)


def test_a_reader_that_has_gone_is_reported_once_and_does_not_keep_it_awake():
    read, write = os.pipe()
    with Poller(list, write) as poller:
        os.close(read)
        poller.wait(LONG_MS, [write])
        assert poller.reader_gone
        assert waited(poller, SHORT_MS)
    os.close(write)
