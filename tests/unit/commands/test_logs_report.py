# SPDX-License-Identifier: Apache-2.0
"""`oomtrace logs` is never silent: what was found, which period is covered, and what could not be read."""

from __future__ import annotations

import lzma
import os
import pty
import socket
import struct
import zlib
from datetime import datetime, timezone
from pathlib import Path

import pytest
from support.logrun import LOG, Run, pipe_with, stdin

from ooMtrace.commands import decompress, logs
from ooMtrace.commands.log_watch import LogWatch

KILL = (
    "Memory cgroup out of memory: Killed process 4242 (hog) total-vm:80000kB, anon-rss:48000kB, file-rss:0kB,"
    " shmem-rss:0kB, UID:1000 pgtables:160kB oom_score_adj:0"
)
USE = "use dmesg -T or journalctl -k -o short-iso"


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_the_number_of_kills_and_the_period_from_the_first_to_the_last_kernel_message_are_stated(tmp_path):
    log = write(
        tmp_path / "kern.log",
        "2026-03-05T09:00:00.000001+00:00 box1 sshd[1]: Accepted publickey",
        "2026-03-05T10:00:00.000001+00:00 box1 kernel: usb 1-1: new device",
        f"2026-03-05T11:00:00.000001+00:00 box1 kernel: {KILL}",
        "2026-03-05T12:00:00.000001+00:00 box1 kernel: usb 1-1: disconnected",
        "2026-03-05T13:00:00.000001+00:00 box1 sshd[1]: Connection closed",
    )
    run = Run(tmp_path, log)

    assert (run.code, run.said) == (0, [])
    assert run.summary == f"1 kill in {log}, period covered: 2026-03-05T10:00:00Z to 2026-03-05T12:00:00Z"


def test_a_kernel_log_without_kills_is_read_with_its_period(tmp_path):
    log = write(tmp_path / "kern.log", "2026-03-05T10:00:00.000001+00:00 box1 kernel: usb 1-1: new device")
    run = Run(tmp_path, log)

    assert (run.code, run.said) == (0, [])
    assert run.summary == f"0 kills in {log}, period covered: 2026-03-05T10:00:00Z to 2026-03-05T10:00:00Z"


def test_the_period_of_several_logs_is_from_the_earliest_to_the_latest(tmp_path):
    late = write(tmp_path / "kern.log", "2026-03-06T10:00:00.000001+00:00 box1 kernel: late")
    early = write(tmp_path / "kern.log.1", "2026-03-05T10:00:00.000001+00:00 box1 kernel: early")

    assert Run(tmp_path, late, early).summary == (
        "0 kills in 2 logs, period covered: 2026-03-05T10:00:00Z to 2026-03-06T10:00:00Z"
    )


def test_kernel_messages_in_the_middle_of_a_large_log_are_recognized(tmp_path):
    others = ["Mar  5 10:00:00 box1 sshd[1]: " + "x" * 100] * 20_000
    log = write(tmp_path / "syslog", *others, "Mar  5 11:00:00 box1 kernel: usb 1-1: new device", *others)
    run = Run(tmp_path, log)

    assert (run.code, run.said) == (0, [])
    assert "11:00:00Z to" in run.summary


def test_where_there_are_no_clock_times_it_is_stated_how_to_get_them(tmp_path):
    log = write(tmp_path / "dmesg", "[    0.000000] Linux version 6.1", f"[  500.000001] {KILL}")

    assert Run(tmp_path, log).summary == (
        f"1 kill in {log}, period covered: 0 s to 500 s after boot, no clock times in this log; {USE}"
    )


def test_a_log_that_begins_in_the_middle_of_a_boot_states_it(tmp_path):
    log = write(tmp_path / "dmesg", "[ 400.000000] usb 1-1: new device", f"[  500.000001] {KILL}")

    assert Run(tmp_path, log).summary == (
        f"1 kill in {log}, period covered: 400 s to 500 s after boot, without earlier messages of that boot,"
        f" no clock times in this log; {USE}"
    )


def test_lines_without_any_time_are_read(tmp_path):
    log = write(tmp_path / "paste", KILL)
    run = Run(tmp_path, log)

    assert (run.code, len(run.lines)) == (0, 1)
    assert run.summary == f"1 kill in {log}, no clock times in this log; {USE}"


@pytest.mark.parametrize("content", ["nothing of a kernel\n", "Mar  5 10:00:00 box1 sshd[1]: Accepted\n"])
def test_a_text_without_kernel_messages_is_a_failure(tmp_path, content):
    log = tmp_path / "some.txt"
    log.write_text(content)
    run = Run(tmp_path, log)

    assert (run.code, run.lines, run.summary) == (1, [], "")
    assert run.said == [
        f"{log}: no kernel messages recognized; use kern.log, or the output of dmesg -T or journalctl -k -o short-iso"
    ]


def test_an_empty_file_has_no_kills_and_is_no_failure(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    run = Run(tmp_path, tmp_path / "empty")

    assert (run.code, run.lines, run.said) == (0, [], [])
    assert run.summary == f"0 kills in {tmp_path / 'empty'}"


def test_lines_that_look_like_kills_and_are_none_of_the_kernel_are_a_failure(tmp_path):
    log = write(
        tmp_path / "syslog",
        "Mar  5 10:00:00 box1 kernel: usb 1-1: new device",
        f"Mar  5 10:00:00 box1 forger[7]: {KILL}",
    )
    run = Run(tmp_path, log)

    assert (run.code, run.lines) == (1, [])
    assert run.said == [
        f"{log}: 1 line looks like a kill but none of the kernel's could be read, such as"
        f" {f'Mar  5 10:00:00 box1 forger[7]: {KILL}'[:200]!r}; if the kernel wrote it, {USE}"
    ]
    assert run.summary.startswith("0 kills in ")


@pytest.mark.parametrize("split", range(1, 15))
def test_a_mark_that_two_blocks_share_is_counted_once(split):
    watch = LogWatch(datetime(2026, 3, 5, tzinfo=timezone.utc))
    text = b"a\nKilled process 1\n"
    list(watch.pass_on([text[:split], text[split:], b"Killed process 2\n"]))

    assert watch.kill_marks == 2
    assert watch.example
    assert "Killed process 1".startswith(watch.example)


def test_a_pipe_is_read_without_being_named(tmp_path):
    with stdin(pipe_with(LOG.read_bytes())):
        run = Run(tmp_path)

    assert (run.code, len(run.lines)) == (0, 2)
    assert run.said == ["reading stdin; the kernel log of this host: oomtrace logs /dev/kmsg"]
    assert run.summary.startswith("2 kills in stdin, ")


def test_a_file_or_a_socket_that_is_stdin_is_read(tmp_path):
    with stdin(os.open(LOG, os.O_RDONLY)):
        assert len(Run(tmp_path).lines) == 2
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(LOG.read_bytes())
    with stdin(theirs.detach()):
        assert len(Run(tmp_path).lines) == 2


def test_an_empty_pipe_is_a_failure(tmp_path):
    with stdin(pipe_with(b"")):
        run = Run(tmp_path)

    assert (run.code, run.summary) == (1, "")
    assert run.said[-1] == "stdin: empty; the kernel log of this host: oomtrace logs /dev/kmsg"


@pytest.mark.parametrize("kind", ["terminal", "null", "closed"])
def test_on_a_terminal_the_kernels_own_log_is_read(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(logs, "KMSG", tmp_path / "no/such")
    master, terminal = pty.openpty()
    with stdin(terminal if kind == "terminal" else os.open("/dev/null", os.O_RDONLY)):
        if kind == "closed":
            os.close(0)
        run = Run(tmp_path)
    os.close(master)

    assert run.said == [f"{tmp_path / 'no/such'}: No such file or directory; check the name"]


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (
            b"LPKSHHRH" + bytes(300),
            "not text but a binary journal; journalctl --file {} -k -o short-iso | oomtrace logs -",
        ),
        (b"\x7fELF" + bytes(300), "not text but a program or core dump; name a text log"),
        (b"PK\x03\x04" + bytes(300), "not text but a zip archive; unzip -p {} | oomtrace logs -"),
        (
            bytes(range(256)) * 16,
            "not text; use kern.log, or the output of dmesg -T or journalctl -k -o short-iso",
        ),
    ],
)
@pytest.mark.parametrize("compress", [bytes, lzma.compress])
def test_what_is_not_text_is_a_failure_that_states_what_to_do(tmp_path, content, fact, compress):
    file = tmp_path / "a b"
    file.write_bytes(compress(content))
    run = Run(tmp_path, file)

    assert (run.code, run.lines, run.summary) == (1, [], "")
    assert run.said == [f"{file}: {fact.format(repr(str(file)))}"]


def test_of_stdin_the_command_names_a_file_to_fill_in(tmp_path):
    with stdin(pipe_with(b"LPKSHHRH" + bytes(300))):
        run = Run(tmp_path, "-")

    assert run.said == [
        "stdin: not text but a binary journal; journalctl --file FILE -k -o short-iso | oomtrace logs -"
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_understood(tmp_path, encoding):
    log = tmp_path / "log"
    log.write_text(f"[  100.000001] {KILL}\n[  101.000001] {KILL.replace('hog', 'hög')}\n", encoding)
    run = Run(tmp_path, log)

    assert (run.code, run.said) == (0, [])
    assert [line["process"]["comm"] for line in run.lines] == ["hog", "hög"]


def test_an_xz_file_of_several_streams_with_padding_is_read(tmp_path):
    log = tmp_path / "log.xz"
    streams = [lzma.compress(f"[  {second}.000001] {KILL}\n".encode()) for second in (100, 101)]
    log.write_bytes(bytes(8).join(streams))

    assert [line["process"]["tid"] for line in Run(tmp_path, log).lines] == [4242, 4242]


def test_an_xz_file_that_asks_for_much_memory_is_refused(tmp_path):
    packed = bytearray(lzma.compress(LOG.read_bytes(), filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}]))
    # The stream's header has 12 bytes. The block's has its length, the filters and a CRC. The filter LZMA2 (0x21) has
    # one byte of properties, which stands for the size of the dictionary: 36 is 1 GiB.
    packed[packed.index(b"\x21\x01") + 2] = 36
    end = 12 + packed[12] * 4
    packed[end : end + 4] = struct.pack("<I", zlib.crc32(packed[12:end]))
    log = tmp_path / "log.xz"
    log.write_bytes(packed)
    run = Run(tmp_path, log)

    assert run.code == 1
    assert run.said == [f"{log}: decompression needs more than 128 MiB of memory; xz -dc {log} | oomtrace logs -"]


def zstd_frame(content: bytes) -> bytes:
    """Return a frame with one raw block, RFC 8878."""
    assert len(content) < 1 << 16
    header = b"\x28\xb5\x2f\xfd" + bytes([0b01100000]) + struct.pack("<H", len(content) - 256)
    return header + struct.pack("<I", len(content) << 3 | 1)[:3] + content


def test_without_a_library_for_zstd_the_command_is_stated(tmp_path, monkeypatch):
    monkeypatch.setattr(decompress, "ZSTD_MODULES", ("no.such.module",))
    log = tmp_path / "log.zst"
    log.write_bytes(zstd_frame(LOG.read_bytes()))
    run = Run(tmp_path, log)

    assert (run.code, run.lines, run.summary) == (1, [], "")
    assert run.said == [f"{log}: no library for zstd is installed; zstd -dc {log} | oomtrace logs -"]


def test_zstd_is_read_and_damage_is_stated(tmp_path):
    log = tmp_path / "log.zst"
    log.write_bytes(zstd_frame(LOG.read_bytes()) * 2)
    assert len(Run(tmp_path, log).lines) == 4
    log.write_bytes(zstd_frame(LOG.read_bytes()) + zstd_frame(LOG.read_bytes())[:200])
    run = Run(tmp_path, log)
    assert (run.code, len(run.lines)) == (1, 2)
    assert "kills up to there are reported" in run.said[0]
    log.write_bytes(b"\x28\xb5\x2f\xfd" + os.urandom(99))
    assert Run(tmp_path, log).code == 1


class FakeZstd:
    """The interface of the modules, over raw frames; stands for a library that is not installed."""

    class ZstdError(Exception):
        pass

    class ZstdDecompressor:
        def __init__(self) -> None:
            self._data, self.eof, self.unused_data, self.needs_input = b"", False, b"", True

        def decompress(self, data: bytes, max_length: int = -1) -> bytes:
            assert max_length > 0
            if b"too large" in data:
                raise FakeZstd.ZstdError("Frame requires too much memory for decoding")
            if b"damaged" in data:
                raise FakeZstd.ZstdError("Data corruption detected")
            self.eof = True
            return data[10:]


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (LOG.read_bytes(), 0, None),
        (b"too large", 1, "decompression needs more than 128 MiB of memory; zstd --long=31 -dc {0} | oomtrace logs -"),
        (b"damaged" * 99, 1, "damaged: Data corruption detected; pipe it in: oomtrace logs -"),
    ],
)
def test_the_library_for_zstd_is_loaded_only_if_needed(tmp_path, monkeypatch, content, code, said):
    monkeypatch.setattr(decompress, "import_module", lambda name: FakeZstd)
    log = tmp_path / "log.zst"
    log.write_bytes(zstd_frame(content) if len(content) > 255 else b"\x28\xb5\x2f\xfd" + content)
    run = Run(tmp_path, log)

    assert run.code == code
    assert run.said == ([f"{log}: {said.format(log)}"] if said else [])
    assert len(run.lines) == (0 if code else 2)
