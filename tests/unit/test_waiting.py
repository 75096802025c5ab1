# SPDX-License-Identifier: Apache-2.0
"""Sleeping ends when it should, and only then."""

from __future__ import annotations

import os
import time

from ooMtrace.waiting import Waiter


def test_a_blocked_output_is_waited_for_once_and_only_until_it_is_writable():
    read, write = os.pipe()
    with Waiter([], write) as waiter:
        waiter.wait(60_000, write)  # there is room: at once
        begin = time.monotonic()
        waiter.wait(200)
        assert time.monotonic() - begin >= 0.2
        assert not waiter.unread

        os.close(read)
        waiter.wait(60_000, write)

        assert waiter.unread
    os.close(write)


def test_an_output_that_is_not_stdout_is_waited_for_too():
    read, write = os.pipe()
    with Waiter([]) as waiter:
        waiter.wait(60_000, write)
        begin = time.monotonic()
        waiter.wait(200)
        assert time.monotonic() - begin >= 0.2
    os.close(read)
    os.close(write)
