# SPDX-License-Identifier: Apache-2.0
"""`oomtrace logs`: files of all kinds, and what goes wrong with them."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import pty
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support.logrun import CORPUS, LOG, Run, pipe_with, stdin

from ooMtrace import cli
from ooMtrace.commands import log_file, logs
from ooMtrace.kmsg import boot_log
from ooMtrace.output.terminal import escape_control


def test_files_become_one_stream_of_lines(tmp_path):
    run = Run(tmp_path, LOG, CORPUS / "vm-7.3-group.log")

    assert (run.code, run.said) == (0, [])
    assert [line["seq"] for line in run.lines] == list(range(1, 11))
    assert {line["fidelity"] for line in run.lines} == {"log"}
    assert all(line["missing"] for line in run.lines)


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, bz2.compress, bytes])
def test_a_compressed_file_is_recognized_by_its_beginning_and_not_by_its_name(tmp_path, compress):
    file = tmp_path / "some.log"
    file.write_bytes(compress(LOG.read_bytes()))
    os.utime(file, (LOG.stat().st_mtime, LOG.stat().st_mtime))
    run, plain = Run(tmp_path, file), Run(tmp_path, LOG)

    assert run.code == 0
    assert [line["id"] for line in run.lines] == [line["id"] for line in plain.lines] != []


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_kills_before_the_damage_of_a_file_are_reported_and_so_is_the_damage(tmp_path, compress):
    noise = os.urandom(1 << 16).hex().encode()  # compresses badly: the end is far from the kills
    file = tmp_path / "cut.gz"
    whole = compress(LOG.read_bytes() + noise)
    file.write_bytes(whole[: len(whole) // 2])
    run = Run(tmp_path, file)

    assert run.code == 1
    assert len(run.lines) == 2
    [said] = run.said
    assert str(file) in said
    assert "damaged" in said
    assert "reported" in said


def test_a_flipped_bit_is_damage(tmp_path):
    whole = bytearray(gzip.compress(LOG.read_bytes() + os.urandom(1 << 16).hex().encode()))
    whole[len(whole) * 3 // 4] ^= 0xFF
    (tmp_path / "bad").write_bytes(whole)
    run = Run(tmp_path, tmp_path / "bad")

    assert run.code == 1
    assert len(run.said) == 1


def test_a_file_that_cannot_be_read_is_one_line_and_the_others_are_read(tmp_path):
    run = Run(tmp_path, tmp_path / "absent", tmp_path, LOG)

    assert run.code == 1
    assert len(run.lines) == 2
    assert run.said == [
        f"{tmp_path / 'absent'}: No such file or directory; check the name",
        f"{tmp_path}: Is a directory; name the files in it",
    ]


def test_a_file_that_may_not_be_read_says_what_to_do(tmp_path, monkeypatch):
    file, opened = tmp_path / "secret", os.open

    def refuse(path: Any, *more: Any) -> int:
        # root, who runs these tests too, may read everything
        if str(path) == str(file):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, *more)

    monkeypatch.setattr(os, "open", refuse)

    assert Run(tmp_path, file).said == [f"{file}: Permission denied; become root, or a member of the group adm"]


def test_standard_input_is_read(tmp_path):
    with stdin(pipe_with((CORPUS / "format-dmesg.log").read_bytes())):
        run = Run(tmp_path, "-")

    assert (run.code, run.said) == (0, [])
    assert len(run.lines) == 2
    assert "time" not in run.lines[0]


def test_without_a_file_the_kernels_own_log_is_read_with_our_host_and_clock(tmp_path, monkeypatch):
    """A file stands for /dev/kmsg: only the end of the log looks different there."""
    file = tmp_path / "kmsg"
    file.write_bytes((CORPUS / "format-kmsg.log").read_bytes())
    monkeypatch.setattr(logs, "KMSG", str(file))
    monkeypatch.setattr(boot_log, "read_kill_count", lambda _: None)  # a kernel that does not count
    reads = iter(file.read_bytes().splitlines(keepends=True))

    def record(fd: int, size: int) -> bytes:
        assert size >= 8192
        found = next(reads, None)
        if found is None:
            raise BlockingIOError
        if found.startswith(b"6,") and not record.broken:  # type: ignore[attr-defined]
            record.broken = True  # type: ignore[attr-defined]
            raise BrokenPipeError
        return found

    record.broken = False  # type: ignore[attr-defined]
    monkeypatch.setattr(os, "read", record)
    run = Run(tmp_path)

    assert (run.code, run.said) == (0, [])
    assert len(run.lines) == 2
    assert all(line["time"] and line["host"]["name"] and line["id"] for line in run.lines)


def test_the_kills_of_the_kernels_own_log_have_the_kernels_numbers(tmp_path, monkeypatch):
    file = tmp_path / "kmsg"
    file.write_bytes((CORPUS / "format-kmsg.log").read_bytes())
    monkeypatch.setattr(logs, "KMSG", str(file))
    monkeypatch.setattr(boot_log, "read_kill_count", lambda _: 17)
    run = Run(tmp_path)

    assert (run.code, run.said) == (0, [])
    assert [line["oom"]["number"] for line in run.lines] == [16, 17]
    assert all(line["time"] and line["host"]["name"] for line in run.lines)
    assert [line["id"].split("-")[1:] for line in run.lines] == [
        [str(line["oom"]["number"]), str(line["process"]["tid"])] for line in run.lines
    ]


def test_the_period_of_the_kernels_own_log_is_stated_in_clock_times_without_a_kill(tmp_path, monkeypatch):
    file = tmp_path / "kmsg"
    file.write_text("6,1,1000000,-;usb 1-1: new device\n")
    monkeypatch.setattr(logs, "KMSG", str(file))
    run = Run(tmp_path)

    assert (run.code, run.said, run.lines) == (0, [], [])
    assert re.search(r"period covered: \d{4}-\S+Z to \d{4}-\S+Z", run.summary)
    assert "no clock times" not in run.summary


def test_a_kernel_log_that_may_not_be_read_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "KMSG", str(tmp_path / "no/such"))
    run = Run(tmp_path)

    assert run.code == 1
    assert len(run.said) == 1


def on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: Path) -> tuple[Run, bytes]:
    """Run with stderr on a terminal; return what has come there, too."""
    monkeypatch.setattr(log_file, "BAR_EVERY_S", 0.0)
    terminal, ours = pty.openpty()
    kept = os.dup(2)
    try:
        os.dup2(ours, 2)
        run = Run(tmp_path, file)
        os.write(2, b"\f")
        shown = b""
        while not shown.endswith(b"\f"):
            shown += os.read(terminal, 65536)
        return run, shown[:-1]
    finally:
        os.dup2(kept, 2)
        for fd in (kept, terminal, ours):
            os.close(fd)


def test_the_progress_bar_is_for_terminals_and_is_erased(tmp_path, monkeypatch):
    run, shown = on_a_terminal(tmp_path, monkeypatch, LOG)

    assert len(run.lines) == 2
    assert re.fullmatch(rb"(\r[^\r\n]+ \[#{30}\] 100%\x1b\[K)+\r\x1b\[K", shown)
    assert all(len(one) < 80 for one in shown.split(b"\r"))


def test_without_a_terminal_there_is_no_progress_bar(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(log_file, "BAR_EVERY_S", 0.0)
    Run(tmp_path, LOG)

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("damage", [b"", b"\x1f\x8b"])
def test_no_file_name_controls_the_terminal(tmp_path, monkeypatch, damage):
    file = tmp_path / os.fsdecode(b"a\x1b]0;x\x07\n\xc2\x9b\xff.log")
    file.write_bytes(damage + LOG.read_bytes())
    run, shown = on_a_terminal(tmp_path, monkeypatch, file)

    assert run.code == (1 if damage else 0)
    assert shown.endswith(b"\r\x1b[K")
    assert not re.search(rb"[\x00-\x1f\x80-\xff]", shown.replace(b"\x1b[K", b"").replace(b"\r", b""))
    assert all(escape_control(said).isprintable() and "a\\x1b]0;x" in escape_control(said) for said in run.said)


def test_without_a_reader_it_ends_quietly(tmp_path):
    read, write = os.pipe()
    os.close(read)
    kept = os.dup(1)
    try:
        os.dup2(write, 1)
        assert cli.main(["logs", str(LOG)]) == 0
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(write)


SIZES = "total-vm:4kB, anon-rss:3kB, file-rss:2kB, shmem-rss:1kB"


def in_syslog(moment: datetime) -> str:
    """Return a kill as syslog writes it: in local time, without a year."""
    return f"{moment.astimezone():%b %e %H:%M:%S} box kernel: Killed process 7 (x) {SIZES}\n"


@pytest.mark.parametrize("ahead_h", [-1, 12])
def test_a_date_without_a_year_is_of_the_time_when_the_file_was_written(tmp_path, ahead_h):
    """A line that seems to be of tomorrow is from another time zone."""
    for written in (datetime.now(timezone.utc), datetime(2019, 3, 5, 12, tzinfo=timezone.utc)):
        moment = written.replace(microsecond=0) + timedelta(hours=ahead_h)
        file = tmp_path / "kern.log"
        file.write_text(in_syslog(moment))
        os.utime(file, (written.timestamp(), written.timestamp()))
        (line,) = Run(tmp_path, file).lines

        assert datetime.fromisoformat(line["time"]) == moment


def test_a_file_that_claims_to_be_written_in_the_future_is_of_now(tmp_path):
    moment = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=30)
    file = tmp_path / "kern.log"
    file.write_text(in_syslog(moment))
    os.utime(file, (moment.timestamp() + 3600, moment.timestamp() + 3600))
    (line,) = Run(tmp_path, file).lines

    assert datetime.fromisoformat(line["time"]) < moment - timedelta(days=300)
