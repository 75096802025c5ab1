# SPDX-License-Identifier: Apache-2.0
"""Lines are queued for an output that fails, and written whole, once and in order."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooMtrace.errors import SinkError
from ooMtrace.output.channel import Channel
from ooMtrace.output.encode import encode
from ooMtrace.output.lines import rendered_as
from ooMtrace.output.outbox import LIMIT, RETRY_MS, Outbox
from ooMtrace.output.outputs import Outputs
from ooMtrace.output.sink import ClosedPipeError, LaterError
from ooMtrace.output.stream import StreamSink

LINES = [f"{number}:".encode().ljust(6000, b"x") + b"\n" for number in range(50)]
write_whole = os.write


class Disk:
    """os.write on a disk with this many bytes left; None: enough."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, left: int | None = None, number: int = errno.ENOSPC) -> None:
        self.left, self.number, self.tried = left, number, 0
        monkeypatch.setattr(os, "write", self.write)

    def write(self, fd: int, data: bytes) -> int:
        self.tried += 1
        if self.left is None:
            return write_whole(fd, data)
        if not self.left:
            raise OSError(self.number, os.strerror(self.number))
        written = write_whole(fd, data[: self.left])
        self.left -= written
        return written


class Fifo:
    """An output with a reader that reads when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "fifo"
        os.mkfifo(self.path)
        self.fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def read(self) -> bytes:
        with suppress(BlockingIOError):
            return os.read(self.fd, 1 << 20)
        return b""


def outbox(path: Path, said: list[str] | None = None, limit: int = LIMIT) -> Outbox:
    return Outbox(StreamSink(path), (said if said is not None else []).append, limit)


def drain(box: Outbox, seconds: float) -> None:
    Outputs([Channel(box, rendered_as(encode))], print).drain(seconds)


def test_lines_are_written_at_once(tmp_path):
    said: list[str] = []
    box = outbox(tmp_path / "lines", said)

    for line in LINES:
        assert box.put(line)
        box.flush()

    assert (tmp_path / "lines").read_bytes() == b"".join(LINES)
    assert (box.held, box.blocked_fd(), box.retry_ms(), said) == (0, None, None, [])


@pytest.mark.parametrize("own", [True, False])
def test_a_pipe_without_a_reader_does_not_block_and_loses_nothing(tmp_path, monkeypatch, own):
    if not own:  # where /proc is not mounted
        monkeypatch.setattr(StreamSink, "never_wait", lambda _sink: None)
    fifo = Fifo(tmp_path)
    box = outbox(fifo.path)
    for line in LINES:
        assert box.put(line)
        box.flush()
    assert box.blocked_fd() is not None
    assert box.retry_ms() is None
    assert 0 < box.held < len(LINES)

    got = b""
    while box.held:
        got += fifo.read()
        box.flush()
    got += fifo.read()

    assert got == b"".join(LINES)
    assert box.blocked_fd() is None


def test_a_line_without_room_is_dropped_and_later_lines_are_taken_again(tmp_path, monkeypatch):
    disk = Disk(monkeypatch, 0)
    box = outbox(tmp_path / "lines", limit=20_000)

    assert [box.put(line) for line in LINES[:5]] == [True, True, True, False, False]
    assert box.held == 3
    disk.left = None
    box.flush()

    assert [box.put(line) for line in LINES[5:10]] == [True, True, True, False, False]
    box.flush()
    assert (tmp_path / "lines").read_bytes() == b"".join(LINES[:3] + LINES[5:8])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS])
def test_a_full_disk_is_reported_once_and_so_is_its_end(tmp_path, monkeypatch, number):
    disk, said, path = Disk(monkeypatch, 0, number), list[str](), tmp_path / "lines"
    box = outbox(path, said)
    for line in LINES:
        assert box.put(line)
        box.flush()
    assert said == [f"{path}: {os.strerror(number)}; lines are kept in memory until it can be written"]
    assert (box.held, box.blocked_fd(), box.retry_ms()) == (len(LINES), None, RETRY_MS)

    disk.left = None
    box.flush()

    assert said[1:] == [f"{path}: works again"]
    assert path.read_bytes() == b"".join(LINES)
    assert (box.held, box.retry_ms()) == (0, None)


def test_a_permanent_error_is_raised(tmp_path, monkeypatch):
    Disk(monkeypatch, 0, errno.EINVAL)
    box = outbox(tmp_path / "lines")
    box.put(LINES[0])

    with pytest.raises(SinkError, match="Invalid argument"):
        box.flush()


def test_a_closed_terminal_is_a_permanent_error(tmp_path, monkeypatch):
    fifo = Fifo(tmp_path)
    box = outbox(fifo.path)
    Disk(monkeypatch, 0, errno.EIO)
    box.put(LINES[0])

    with pytest.raises(SinkError) as caught:
        box.flush()
    assert not isinstance(caught.value, LaterError)


def half_a_line(path: Path, disk: Disk) -> Outbox:
    """Fill the disk in the middle of the second line."""
    box = outbox(path)
    disk.left = 9000
    for line in LINES:
        box.put(line)
        box.flush()
    assert path.stat().st_size == 9000
    return box


def test_the_rest_of_a_partial_line_is_written_first(tmp_path, monkeypatch):
    path, disk = tmp_path / "lines", Disk(monkeypatch)
    box = half_a_line(path, disk)

    disk.left = None
    box.flush()

    assert path.read_bytes() == b"".join(LINES)


def test_a_partial_line_is_written_whole_into_the_next_file(tmp_path, monkeypatch):
    path, disk = tmp_path / "lines", Disk(monkeypatch)
    box = half_a_line(path, disk)

    path.rename(tmp_path / "lines.1")
    path.write_bytes(b"{}\n")
    disk.left = None
    box.reopen()
    box.flush()

    assert (tmp_path / "lines.1").read_bytes() == b"".join(LINES)[:9000]
    assert path.read_bytes() == b"{}\n" + b"".join(LINES[1:])


def test_a_partial_line_continues_if_the_same_file_is_reopened(tmp_path, monkeypatch):
    path, disk = tmp_path / "lines", Disk(monkeypatch)
    box = half_a_line(path, disk)

    disk.left = None
    box.reopen()
    box.flush()

    assert path.read_bytes() == b"".join(LINES)


def test_a_partial_line_is_written_again_into_a_file_that_was_truncated(tmp_path, monkeypatch):
    path, disk = tmp_path / "lines", Disk(monkeypatch)
    box = half_a_line(path, disk)

    os.truncate(path, 0)
    disk.left = None
    box.flush()

    assert path.read_bytes() == b"".join(LINES[1:])


def test_a_removed_file_is_recreated_and_reported(tmp_path):
    path, said = tmp_path / "lines", list[str]()
    box = outbox(path, said)
    box.put(LINES[0])
    box.flush()
    path.unlink()

    for line in LINES[1:3]:
        box.put(line)
        box.flush()

    assert path.read_bytes() == b"".join(LINES[1:3])
    assert said == [f"{path}: was removed; recreated"]


def test_lines_are_queued_while_the_directory_is_missing(tmp_path):
    path, said = tmp_path / "folder/lines", list[str]()
    path.parent.mkdir()
    box = outbox(path, said)
    path.unlink()
    path.parent.rmdir()
    for line in LINES:
        box.put(line)
        box.flush()
    assert said == [f"{path}: No such file or directory; lines are kept in memory until it can be written"]
    assert box.retry_ms() == RETRY_MS

    path.parent.mkdir()
    box.flush()

    assert path.read_bytes() == b"".join(LINES)
    assert said[1:] == [f"{path}: was removed; recreated", f"{path}: works again"]


def test_a_removed_pipe_is_retried_and_not_polled(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    fifo = Fifo(folder)
    box = outbox(fifo.path)
    for line in LINES:
        box.put(line)
    box.flush()
    assert box.blocked_fd() is not None

    folder.rename(tmp_path / "gone")
    (tmp_path / "gone/fifo").unlink()
    box.flush()

    assert box.blocked_fd() is None
    assert box.retry_ms() == RETRY_MS


def test_reopening_a_fifo_without_a_reader_does_not_block(tmp_path):
    fifo = Fifo(tmp_path)
    box = outbox(fifo.path)
    fifo.path.unlink()
    os.mkfifo(fifo.path)

    with pytest.raises(LaterError, match="No such device or address"):
        box.reopen()

    os.close(fifo.fd)


def test_a_reader_that_closes_the_output_ends_the_work(tmp_path):
    fifo = Fifo(tmp_path)
    box = outbox(fifo.path)
    for line in LINES:
        box.put(line)
    box.flush()
    os.close(fifo.fd)

    with pytest.raises(ClosedPipeError):
        box.flush()


def ends(kind: str) -> tuple[int, int]:
    """Open something that others may write into, too: the end to read and the end to write."""
    if kind == "socket":
        reader, writer = socket.socketpair()
        return reader.detach(), writer.detach()
    return os.openpty() if kind == "terminal" else os.pipe()


@contextmanager
def stdout(fd: int) -> Iterator[None]:
    """Replace stdout by this file descriptor."""
    saved = os.dup(1)
    os.dup2(fd, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def held_and_read(box: Outbox, reader: int) -> tuple[int, bytes]:
    """Put all lines; return how many are queued before anything is read, and all that is read."""
    for line in LINES:
        box.put(line)
        box.flush()
    held, got = box.held, b""
    while got.count(b"\n") < len(LINES):
        got += os.read(reader, 1 << 16)
        box.flush()
    box.close()
    return held, got.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal"])
def test_stdout_without_a_reader_does_not_block_and_stays_blocking_for_others(kind):
    reader, writer = ends(kind)
    with stdout(writer):
        held, got = held_and_read(Outbox(StreamSink(), list[str]().append), reader)

    assert 0 < held < len(LINES)
    assert got == b"".join(LINES)
    assert os.get_blocking(writer)
    os.close(reader)
    os.close(writer)


def test_a_terminal_opened_by_path_does_not_block():
    reader, writer = ends("terminal")

    held, got = held_and_read(outbox(Path(os.ttyname(writer))), reader)

    assert 0 < held < len(LINES)
    assert got == b"".join(LINES)
    os.close(reader)
    os.close(writer)


def test_drain_waits_for_a_slow_reader(tmp_path):
    fifo, got = Fifo(tmp_path), bytearray()
    box = outbox(fifo.path)
    for line in LINES:
        box.put(line)

    def read() -> None:
        while len(got) < sum(map(len, LINES)):
            got.extend(fifo.read())
            time.sleep(0.01)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    drain(box, 60)
    reader.join(60)

    assert not box.held
    assert bytes(got) == b"".join(LINES)


def test_drain_ends_at_the_timeout_if_nobody_reads(tmp_path):
    fifo = Fifo(tmp_path)
    box = outbox(fifo.path)
    for line in LINES:
        box.put(line)
    begin = time.monotonic()

    drain(box, 0.3)

    assert 0.3 <= time.monotonic() - begin < 3
    out = fifo.read()
    assert out == b"".join(LINES)[: len(out)]
    assert box.held == len(LINES) - out.count(b"\n")


def test_drain_sleeps_until_there_is_room_and_not_again_and_again(tmp_path, monkeypatch):
    flushes: list[float] = []
    box = Outbox(StreamSink(Fifo(tmp_path).path), print)
    flush = box.flush

    def counted() -> None:
        flushes.append(time.monotonic())
        flush()

    monkeypatch.setattr(box, "flush", counted)
    for line in LINES:
        box.put(line)

    drain(box, 0.3)

    assert flushes[-1] - flushes[0] > 0.25
    assert len(flushes) <= 4


def test_drain_of_a_full_disk_sleeps_no_longer_than_its_limit(tmp_path, monkeypatch):
    Disk(monkeypatch, 0)
    box = outbox(tmp_path / "lines")
    box.put(LINES[0])
    begin = time.monotonic()

    drain(box, 0.05)

    assert 0.05 <= time.monotonic() - begin < RETRY_MS / 1000


def test_a_closed_queue_has_closed_its_sink(tmp_path):
    sink = StreamSink(tmp_path / "lines")
    Outbox(sink, print).close()

    with pytest.raises(OSError, match="Bad file"):
        os.fstat(sink.fd)


def test_drain_retries_a_full_disk(tmp_path, monkeypatch):
    disk = Disk(monkeypatch, 0)
    box = outbox(tmp_path / "lines")
    box.put(LINES[0])
    threading.Timer(0.2, setattr, [disk, "left", None]).start()

    drain(box, 60)

    assert (tmp_path / "lines").read_bytes() == LINES[0]
    assert disk.tried <= 3


def rename(box: Outbox, path: Path, number: int) -> None:
    path.rename(path.with_suffix(f".{number}"))
    box.reopen()


def hang_up(box: Outbox, _path: Path, _number: int) -> None:
    box.reopen()


EVENTS = st.one_of(st.integers(0, 40), st.sampled_from([rename, hang_up]))


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, max_size=60))
def test_after_any_events_each_line_is_written_whole_and_once(events):
    """An integer is the free space before the next line."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path, disk, put = Path(folder, "lines"), Disk(patch), []
        box = outbox(path)
        for number, event in enumerate(events):
            if callable(event):
                event(box, path, number)
                continue
            disk.left = event
            put.append(b"<%d%s>\n" % (number, b"." * (number % 17)))
            assert box.put(put[-1])
            box.flush()
        disk.left = None
        box.flush()

        files = sorted(Path(folder).iterdir(), key=lambda p: int(p.suffix[1:] or 1 << 30))
        whole = [line for file in files for line in file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        assert whole == put


def test_the_limit_counts_bytes_and_is_inclusive(tmp_path):
    box = outbox(tmp_path / "lines", limit=10)

    assert [box.put(line) for line in (b"12345678901", b"1234567890", b"1", b"")] == [False, True, False, True]
