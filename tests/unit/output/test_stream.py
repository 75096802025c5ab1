# SPDX-License-Identifier: Apache-2.0
"""Lines reach a file or pipe whole, and failures are reported with the reason."""

from __future__ import annotations

import fcntl
import os
import select
import stat
import threading
import time
from pathlib import Path

import pytest

from ooMtrace.errors import SinkError
from ooMtrace.output.sink import ClosedPipeError
from ooMtrace.output.stream import StreamSink

LINE = b'{"a":1}\n'


class Pipe:
    """A pipe that stands where stdout was, as long as the test runs."""

    def __enter__(self) -> Pipe:
        self.read, write = os.pipe()
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
        self._saved = os.dup(1)
        os.dup2(write, 1)
        os.close(write)
        return self

    def __exit__(self, *_: object) -> None:
        os.dup2(self._saved, 1)
        os.close(self._saved)

    def drain_slowly(self, into: bytearray, size: int) -> None:
        while len(into) < size and (piece := os.read(self.read, 1000)):
            into += piece
            time.sleep(0.0005)


def written_through(pipe: Pipe, lines: list[bytes]) -> bytes:
    """Write lines while another thread reads them a little at a time."""
    got, size = bytearray(), sum(map(len, lines))
    reader = threading.Thread(target=pipe.drain_slowly, args=(got, size), daemon=True)
    reader.start()
    sink = StreamSink()
    for line in lines:
        sink.write(line)
    reader.join(10)
    return bytes(got)


LONG = [bytes([97 + i]) * 30_000 + b"\n" for i in range(4)]


def test_lines_are_whole_through_a_slow_pipe():
    with Pipe() as pipe:
        got = written_through(pipe, LONG)

    assert got == b"".join(LONG)


def test_lines_are_whole_through_a_slow_nonblocking_pipe():
    with Pipe() as pipe:
        os.set_blocking(1, False)
        got = written_through(pipe, LONG)

    assert got == b"".join(LONG)


def test_a_reader_that_closes_a_full_nonblocking_pipe_ends_the_work():
    with Pipe() as pipe:
        os.set_blocking(1, False)
        threading.Timer(0.1, os.close, [pipe.read]).start()

        with pytest.raises(ClosedPipeError):
            StreamSink().write(LONG[0])


def test_a_short_write_continues_where_it_stopped(tmp_path, monkeypatch):
    whole = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: whole(fd, data[:3]))
    sink = StreamSink(tmp_path / "lines")

    sink.write(LINE)
    sink.write(LINE)

    assert (tmp_path / "lines").read_bytes() == LINE * 2


def test_a_reader_that_closes_the_output_ends_the_work():
    with Pipe() as pipe:
        os.close(pipe.read)

        with pytest.raises(ClosedPipeError, match=r"^the reader has closed the output$"):
            StreamSink().write(LINE)


def test_stdout_is_neither_reopened_nor_closed():
    with Pipe() as pipe:
        sink = StreamSink()

        sink.reopen()
        sink.close()
        sink.write(LINE)
        os.set_blocking(pipe.read, False)

        assert os.read(pipe.read, 100) == LINE


def test_lines_are_appended_to_an_existing_file(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"before\n")
    sink = StreamSink(path)

    sink.write(LINE)
    sink.close()

    assert path.read_bytes() == b"before\n" + LINE


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_an_incomplete_last_line_is_terminated_before_the_first_line(tmp_path, end):
    path = tmp_path / "lines"
    path.write_bytes(b'{"a":1}\n{"b"' + end)
    sink = StreamSink(path)

    sink.write(LINE)
    sink.write(LINE)
    sink.close()

    assert path.read_bytes() == b'{"a":1}\n{"b"\n' + LINE * 2


def test_an_incomplete_last_line_of_a_file_found_by_reopen_is_terminated(tmp_path):
    path = tmp_path / "lines"
    sink = StreamSink(path)
    path.rename(tmp_path / "lines.1")
    path.write_bytes(b'{"b"')

    sink.reopen()
    sink.write(LINE)
    sink.close()

    assert path.read_bytes() == b'{"b"\n' + LINE


def test_a_line_is_in_the_file_as_soon_as_it_is_written(tmp_path):
    sink = StreamSink(tmp_path / "lines")

    sink.write(LINE)

    assert (tmp_path / "lines").read_bytes() == LINE
    sink.close()


def test_a_new_file_has_mode_0640(tmp_path):
    before = os.umask(0)
    try:
        StreamSink(tmp_path / "lines").close()
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "lines").stat().st_mode) == 0o640


def test_a_child_does_not_inherit_the_file(tmp_path):
    sink = StreamSink(tmp_path / "lines")

    assert os.get_inheritable(sink.fd) is False
    sink.close()


def test_after_a_rename_lines_go_to_the_old_file_until_reopen(tmp_path):
    path, moved = tmp_path / "lines", tmp_path / "lines.1"
    sink = StreamSink(path)
    sink.write(b"first\n")
    path.rename(moved)
    sink.write(b"second\n")

    sink.reopen()
    sink.write(b"third\n")
    sink.close()

    assert moved.read_bytes() == b"first\nsecond\n"
    assert path.read_bytes() == b"third\n"


def test_reopen_leaks_no_file_descriptor(tmp_path):
    sink = StreamSink(tmp_path / "lines")
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(1000):
        sink.reopen()

    assert len(list(Path("/proc/self/fd").iterdir())) == before
    sink.close()


def test_a_file_that_cannot_be_reopened_leaves_the_old_one_in_use(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    sink = StreamSink(folder / "lines")
    folder.rename(tmp_path / "gone")

    with pytest.raises(SinkError, match=r"No such file or directory; choose a writable file with --output$"):
        sink.reopen()
    sink.write(LINE)
    sink.close()

    assert (tmp_path / "gone/lines").read_bytes() == LINE


@pytest.mark.parametrize(
    ("path", "reason"),
    [("nowhere/lines", "No such file or directory"), ("", "Is a directory"), ("file/lines", "Not a directory")],
)
def test_the_error_for_an_unwritable_path_states_path_and_reason(tmp_path, path, reason):
    (tmp_path / "file").touch()

    with pytest.raises(SinkError) as caught:
        StreamSink(tmp_path / path)

    assert str(caught.value) == f"{tmp_path / path}: {reason}; choose a writable file with --output"
    assert caught.value.exit_code == 1


def test_the_error_for_a_full_disk_states_path_and_reason():
    sink = StreamSink(Path("/dev/full"))

    with pytest.raises(SinkError) as caught:
        sink.write(LINE)

    assert (
        str(caught.value)
        == "/dev/full: No space left on device; free space there, or choose another file with --output"
    )
    assert caught.value.exit_code == 1
    assert not isinstance(caught.value, ClosedPipeError)
    sink.close()


def test_a_file_with_a_second_name_is_not_removed(tmp_path):
    sink = StreamSink(tmp_path / "lines")
    (tmp_path / "second").hardlink_to(tmp_path / "lines")
    assert not sink.removed()
    (tmp_path / "lines").unlink()
    assert not sink.removed()
    (tmp_path / "second").unlink()

    assert sink.removed()
    sink.close()


def test_while_a_pipe_is_full_the_writer_sleeps(monkeypatch):
    read, write = os.pipe()
    sink = StreamSink(Path(f"/dev/fd/{write}"))
    calls: list[int] = []
    write_some = sink.write_some

    def counted(line: bytes) -> int:
        calls.append(len(line))
        return write_some(line)

    monkeypatch.setattr(sink, "write_some", counted)
    size = 50 * select.PIPE_BUF

    def slow_reader() -> None:
        left = size
        while left:
            time.sleep(0.01)
            left -= len(os.read(read, select.PIPE_BUF))

    reader = threading.Thread(target=slow_reader)
    reader.start()
    sink.write(b"x" * size)
    reader.join(60)

    assert len(calls) <= 3 * size // select.PIPE_BUF
    sink.close()
    os.close(read)
    os.close(write)
