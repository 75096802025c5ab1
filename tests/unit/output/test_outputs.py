# SPDX-License-Identifier: Apache-2.0
"""Several outputs at once: none delays another, and each announces what it had no room for."""

from __future__ import annotations

import json
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.probe_events import kill
from support.receivers import Receiver, wait_for

from ooMtrace.errors import SinkError
from ooMtrace.output import courier, outbox
from ooMtrace.output.open import open_outputs
from ooMtrace.output.outputs import Outputs
from ooMtrace.output.url import parse_output
from ooMtrace.record import OomKill

KILL = kill()
LIMIT = 100_000
"""Bytes in each queue, for tests of full ones: some 60 lines."""


def numbered(count: int, first: int = 1) -> Iterator[OomKill]:
    return (replace(KILL, seq=seq) for seq in range(first, first + count))


@pytest.fixture
def said() -> list[str]:
    return []


def put(outputs: Outputs, records: Iterator[OomKill]) -> list[bool]:
    taken = []
    for record in records:
        taken.append(outputs.put(record))
        outputs.flush()
    return taken


def _has_said(outputs: Outputs, said: list[str], text: str) -> bool:
    outputs.flush()
    return any(text in line for line in said)


def queue_of(outputs: Outputs, place: int) -> Any:
    return outputs._channels[place].queue


def small_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier.Courier.__init__, "__defaults__", (LIMIT,))
    monkeypatch.setattr(outbox.Outbox.__init__, "__defaults__", (LIMIT,))


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_lines_arrive_whole_and_in_order(start, said, tmp_path, kind):
    receiver = Receiver(tmp_path / "s" if kind == "unix" else None)
    outputs = start(said.append, receiver.url)
    put(outputs, numbered(300))
    outputs.drain(60)

    assert outputs.empty
    outputs.check_all_written(0)
    wait_for(lambda: len(receiver.lines()) == 300)
    assert [line["seq"] for line in receiver.lines()] == [*range(1, 301)]
    assert said == []


def test_1000_lines_with_one_output_dead_one_slow_and_one_that_reconnects(start, said, tmp_path, monkeypatch):
    small_queues(monkeypatch)
    healthy, slow, broken = Receiver(tmp_path / "a"), Receiver(tmp_path / "c", pause=0.02), Receiver(tmp_path / "b")
    file = tmp_path / "lines"
    outputs = start(said.append, file, healthy.url, slow.url, broken.url, f"unix:{tmp_path}/nobody")

    for begin in (1, 301, 701):
        if begin == 301:
            wait_for(lambda: broken.count == 300)
            broken.close()
        if begin == 701:
            broken.open()
            outputs.reopen()  # SIGHUP: connect again at once
            wait_for(lambda: _has_said(outputs, said, "b: works again"))
        for record in numbered({1: 300, 301: 400, 701: 300}[begin], begin):
            assert outputs.put(record)
            outputs.flush()
            # as fast as the healthy one reads, so that it has no reason to lose anything
            wait_for(lambda seq=record.seq: healthy.count > seq - 20)  # type: ignore[misc]
    wait_for(lambda: not outputs._channels[2].queue.held)
    put(outputs, numbered(1, 1001))
    outputs.drain(0.5)

    assert [json.loads(line)["seq"] for line in file.read_text().splitlines()] == [*range(1, 1002)]
    assert [line["seq"] for line in healthy.lines()] == [*range(1, 1002)]
    for receiver in (slow, broken):
        wait_for(lambda receiver=receiver: receiver.lines()[-1]["seq"] == 1001)  # type: ignore[misc]
        seqs = [line["seq"] for line in receiver.lines()]
        assert seqs == sorted(set(seqs))
        missing = {b: b - a - 1 for a, b in pairwise(seqs) if b != a + 1}
        assert sum(missing.values()) == 1001 - len(seqs) > 0
        assert missing == {
            line["seq"]: line["output_dropped_before"] for line in receiver.lines() if "output_dropped_before" in line
        }
    assert not any("output_dropped_before" in line for line in healthy.lines())
    with pytest.raises(SinkError, match=r"^1 of 5 outputs lack lines; check the receivers$"):
        outputs.check_all_written(0)
    assert said[-1] == f"unix:{tmp_path}/nobody: 1001 lines could not be written"
    assert any("nobody: No such file or directory; lines are kept in memory" in line for line in said)


def test_the_bytes_that_wait_for_an_output_are_limited(start, said, tmp_path, monkeypatch):
    small_queues(monkeypatch)
    outputs = start(said.append, tmp_path / "lines", f"unix:{tmp_path}/nobody")
    put(outputs, numbered(400))

    dead = outputs._channels[1]
    assert dead.queue.held + dead.dropped == 400
    assert sum(len(message) for message in queue_of(outputs, 1)._messages) <= LIMIT


def test_a_record_that_no_output_has_room_for_is_left_to_the_caller(start, said, tmp_path, monkeypatch):
    small_queues(monkeypatch)
    outputs = start(said.append, f"unix:{tmp_path}/nobody", f"unix:{tmp_path}/nothing")
    taken = put(outputs, numbered(400))

    assert taken.index(False) > 10
    assert not any(channel.dropped for channel in outputs._channels)
    assert not outputs.empty


def test_an_output_that_nobody_reads_delays_neither_lines_nor_the_end_of_others(start, said, tmp_path):
    deaf, healthy = Receiver(reads=False), Receiver(tmp_path / "a")
    outputs = start(said.append, deaf.url, healthy.url)
    begin = time.monotonic()
    put(outputs, numbered(2000))
    assert time.monotonic() - begin < 30
    wait_for(lambda: outputs.empty)
    assert healthy.count == 2000

    begin = time.monotonic()
    outputs.drain(0.5)
    outputs.drain(5)
    assert time.monotonic() - begin < 4, "an output that was late is not waited for again"


def test_lines_that_were_not_read_when_a_unix_socket_was_closed_are_sent_again(start, said, tmp_path):
    deaf = Receiver(tmp_path / "s", reads=False)
    outputs = start(said.append, deaf.url)
    put(outputs, numbered(5))
    time.sleep(0.1)
    assert not outputs.empty
    deaf.close()
    receiver = Receiver(tmp_path / "s")
    outputs.drain(60)

    assert [line["seq"] for line in receiver.lines()] == [1, 2, 3, 4, 5]


def test_a_line_is_not_delivered_before_the_other_side_has_acknowledged_it(start, said):
    with socket.create_server(("127.0.0.1", 0)) as server:
        outputs = start(said.append, f"tcp://127.0.0.1:{server.getsockname()[1]}")
        put(outputs, numbered(3))
        connection, _ = server.accept()
        outputs.drain(60)

        assert outputs.empty
        assert connection.recv(1 << 20).count(b"\n") == 3
        connection.close()


def test_without_lines_no_thread_wakes_up(start, said, tmp_path):
    receiver = Receiver(tmp_path / "s")
    outputs = start(said.append, receiver.url, f"unix:{tmp_path}/nobody")
    put(outputs, numbered(1))
    wait_for(lambda: len(receiver.lines()) == 1)
    idle = queue_of(outputs, 0)._thread.native_id

    def switches() -> str:
        return Path(f"/proc/self/task/{idle}/status").read_text().partition("voluntary_ctxt_switches:")[2]

    time.sleep(0.3)
    before = switches()
    time.sleep(1)
    assert switches() == before


def test_what_threads_have_to_say_is_said_by_flush_and_announced_by_a_descriptor(start, tmp_path):
    said: list[tuple[str, int]] = []
    outputs = start(lambda text: said.append((text, threading.get_ident())), f"unix:{tmp_path}/nobody")
    (fd,) = outputs.fds()
    wait_for(lambda: bool(fd and _is_readable(fd)))
    assert said == []
    outputs.flush()

    fact = "No such file or directory; lines are kept in memory until it takes them"
    assert said == [(f"unix:{tmp_path}/nobody: {fact}", threading.get_ident())]
    assert not _is_readable(fd)


def _is_readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def test_stdout_that_nobody_reads_any_more_does_not_end_the_others(start, said, tmp_path):
    outputs = start(said.append, "stdout:", tmp_path / "lines")

    assert outputs.lose_reader()
    put(outputs, numbered(2))
    assert (tmp_path / "lines").read_bytes().count(b"\n") == 2
    assert said == ["stdout: the reader has closed the output; the other outputs continue"]


def test_stdout_that_nobody_reads_any_more_is_the_end_without_another_output(start, said):
    assert not start(said.append, "stdout:").lose_reader()
    assert said == []


def test_the_only_output_that_fails_ends_the_run(start, said, tmp_path):
    read, write = os.pipe()
    os.close(read)
    outputs = start(said.append, f"/proc/self/fd/{write}")
    with pytest.raises(SinkError):
        put(outputs, numbered(1))
    os.close(write)


def test_a_file_that_cannot_be_reopened_stays_in_use_and_the_others_are_reopened(start, said, tmp_path):
    first, second = tmp_path / "first/lines", tmp_path / "second"
    first.parent.mkdir()
    outputs = start(said.append, first, second)
    first.parent.rename(tmp_path / "moved")
    second.rename(tmp_path / "rotated")
    outputs.reopen()
    (fact,) = said
    assert fact.startswith(f"{first}: ")
    assert fact.endswith("; still writing to the file that was open before")
    assert put(outputs, numbered(1)) == [True]
    assert (tmp_path / "moved/lines").read_bytes() == second.read_bytes() != b""


def test_drain_writes_on_as_the_reader_reads_and_ends_with_the_last_line(start, said):
    read, write = os.pipe()
    outputs = start(said.append, f"/proc/self/fd/{write}")
    os.close(write)
    assert all(put(outputs, numbered(200)))
    assert not outputs.empty
    got = bytearray()

    def reads() -> None:
        while got.count(b"\n") < 200:
            got.extend(os.read(read, 4096))

    reader = threading.Thread(target=reads)
    reader.start()
    began = time.monotonic()
    outputs.drain(10)
    assert time.monotonic() - began < 10
    assert outputs.empty
    reader.join()
    os.close(read)


def test_drain_sleeps_while_nobody_reads_and_no_longer_than_it_may(start, said, monkeypatch):
    read, write = os.pipe()
    outputs = start(said.append, f"/proc/self/fd/{write}")
    put(outputs, numbered(200))
    waits: list[int] = []
    wait = outputs._wait

    def counted(timeout_ms: int) -> None:
        waits.append(timeout_ms)
        wait(timeout_ms)

    monkeypatch.setattr(outputs, "_wait", counted)
    outputs.drain(0.3)
    assert len(waits) < 10

    monkeypatch.setattr(queue_of(outputs, 0), "retry_ms", lambda: 30_000)
    outputs._channels[0].is_late = False
    began = time.monotonic()
    outputs.drain(0.1)
    assert time.monotonic() - began < 20
    os.close(read)
    os.close(write)


def test_local_outputs_need_neither_threads_nor_descriptors(start, said, tmp_path):
    threads = threading.active_count()
    outputs = start(said.append, tmp_path / "a", tmp_path / "b")
    put(outputs, numbered(3))

    assert (outputs.fds(), threading.active_count()) == ([], threads)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_output_that_cannot_be_opened_closes_those_before_it(said, tmp_path):
    before = len([*Path("/proc/self/fd").iterdir()])
    with pytest.raises(SinkError, match="choose a writable file"):
        open_outputs([parse_output(str(tmp_path / "a")), parse_output("/nowhere/b")], said.append)

    assert len([*Path("/proc/self/fd").iterdir()]) == before
