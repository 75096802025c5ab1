# SPDX-License-Identifier: Apache-2.0
"""The kernel log as a device: record by record, and what is overwritten before it is read."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

import pytest

from ooMtrace.kmsg.device import MAX_RECORD, KernelLog


@pytest.fixture
def answer(monkeypatch):
    """Let read(2) give these answers, one after the other."""

    def prepare(answers: Iterable[bytes | type[OSError] | OSError]) -> None:
        remaining = iter(answers)

        def read(_fd: int, size: int) -> bytes:
            assert size == MAX_RECORD
            found = next(remaining)
            if isinstance(found, bytes):
                return found
            raise found

        monkeypatch.setattr("ooMtrace.kmsg.device.os.read", read)

    return prepare


def test_it_is_read_from_where_it_was_opened_to_its_end(tmp_path):
    file = tmp_path / "kmsg"
    file.write_bytes(b"before\n")
    log, at_end = KernelLog(file), KernelLog(file, at_end=True)
    with file.open("ab") as more:
        more.write(b"after\n")

    assert b"".join(log.records()) == b"before\nafter\n"
    assert b"".join(at_end.records()) == b"after\n"
    for opened in (log, at_end):
        opened.close()
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(opened.fd)


@pytest.mark.parametrize(
    ("at_end", "reads", "gaps"),
    [
        (False, [BrokenPipeError, b"1\n", b"2\n"], 0),
        (False, [b"1\n", BrokenPipeError, b"2\n", BrokenPipeError, b"3\n"], 2),
        (True, [BrokenPipeError, b"1\n"], 1),
    ],
)
def test_records_overwritten_after_the_first_read_are_a_gap(tmp_path, answer, at_end, reads, gaps):
    """Records overwritten at the beginning are just older than the log."""
    (tmp_path / "kmsg").touch()
    log = KernelLog(tmp_path / "kmsg", at_end=at_end)
    answer([*reads, BlockingIOError])

    assert list(log.records()) == [read for read in reads if isinstance(read, bytes)]
    assert log.gaps == gaps
    log.close()


@pytest.mark.parametrize("end", [BlockingIOError, b""])
def test_reading_goes_on_after_an_end(tmp_path, answer, end):
    """/dev/kmsg answers EAGAIN at its end, a regular file nothing."""
    (tmp_path / "kmsg").touch()
    log = KernelLog(tmp_path / "kmsg")
    answer([b"1\n", end, b"2\n", BrokenPipeError, b"3\n", end])

    assert list(log.records()) == [b"1\n"]
    assert list(log.records()) == [b"2\n", b"3\n"]
    assert log.gaps == 1
    log.close()


def test_other_errors_are_not_an_end(tmp_path, answer):
    (tmp_path / "kmsg").touch()
    log = KernelLog(tmp_path / "kmsg")
    answer([b"1\n", OSError(errno.EINVAL, "record too long")])

    with pytest.raises(OSError, match="too long"):
        list(log.records())
    log.close()


@pytest.mark.parametrize("at_end", [False, True])
def test_reading_never_blocks(tmp_path, at_end):
    (tmp_path / "kmsg").touch()
    log = KernelLog(tmp_path / "kmsg", at_end=at_end)

    assert not os.get_blocking(log.fd)
    log.close()


def test_a_record_of_any_kernel_fits():
    """read(2) of /dev/kmsg refuses a buffer that is too small: CONSOLE_EXT_LOG_MAX until 6.4, then 2048."""
    assert MAX_RECORD >= 8192
