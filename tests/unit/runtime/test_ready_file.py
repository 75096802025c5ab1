# SPDX-License-Identifier: Apache-2.0
"""The ready file is there while the probes are attached, and never written through a link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ooMtrace.errors import SinkError
from ooMtrace.runtime.ready_file import ready_file


def test_it_holds_our_pid_and_is_removed_at_the_end(tmp_path):
    file = tmp_path / "ready"
    with ready_file(file):
        assert file.read_text() == f"{os.getpid()}\n"
        assert file.stat().st_mode & 0o777 == 0o644 & ~_umask()
    assert not file.exists()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_it_is_removed_after_a_failure_and_may_be_gone_already(tmp_path):
    with pytest.raises(ZeroDivisionError), ready_file(tmp_path / "ready"):
        raise ZeroDivisionError
    assert not (tmp_path / "ready").exists()
    with ready_file(tmp_path / "ready"):
        (tmp_path / "ready").unlink()


def test_one_that_was_left_behind_is_replaced(tmp_path):
    (tmp_path / "ready").write_text("1\n")
    with ready_file(tmp_path / "ready"):
        assert (tmp_path / "ready").read_text() == f"{os.getpid()}\n"


def test_the_target_of_a_link_is_not_touched(tmp_path):
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "ready").symlink_to(target)
    with ready_file(tmp_path / "ready"):
        assert not (tmp_path / "ready").is_symlink()
    assert target.read_text() == "precious"


def test_without_a_path_there_is_none(tmp_path):
    with ready_file(None):
        assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(SinkError) as caught, ready_file(tmp_path / "nowhere/ready"):
        pass

    assert str(caught.value) == f"{tmp_path}/nowhere/ready: No such file or directory; choose another --ready-file"


def test_no_descriptor_stays_open(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    with ready_file(tmp_path / "ready"):
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_is_neither_a_file_nor_a_link_is_not_removed(tmp_path):
    os.mkfifo(tmp_path / "ready")
    with pytest.raises(SinkError, match="File exists"), ready_file(tmp_path / "ready"):
        pass

    assert (tmp_path / "ready").is_fifo()
