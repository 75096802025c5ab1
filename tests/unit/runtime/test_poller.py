# SPDX-License-Identifier: Apache-2.0
"""Sleeping ends when it should, and only then."""

from __future__ import annotations

import os
import time

from ooMtrace.runtime.poller import Poller


def test_a_blocked_output_is_waited_for_once_and_only_until_it_is_writable():
    read, write = os.pipe()
    with Poller(list, write) as waiter:
        waiter.wait(60_000, write)  # there is room: at once
        begin = time.monotonic()
        waiter.wait(200)
        assert time.monotonic() - begin >= 0.2
        assert not waiter.reader_gone

        os.close(read)
        waiter.wait(60_000, write)

        assert waiter.reader_gone
    os.close(write)


def test_an_output_that_is_not_stdout_is_waited_for_too():
    read, write = os.pipe()
    with Poller(list) as waiter:
        waiter.wait(60_000, write)
        begin = time.monotonic()
        waiter.wait(200)
        assert time.monotonic() - begin >= 0.2
    os.close(read)
    os.close(write)


def test_what_is_watched_may_change_and_what_has_hung_up_wakes_nobody_for_ever():
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
