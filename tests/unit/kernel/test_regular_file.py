# SPDX-License-Identifier: Apache-2.0
"""Files of an administrator are read up to a limit, and what is no file does not block."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ooMtrace.kernel.regular_file import read_regular_file


@pytest.mark.parametrize(("content", "read"), [(b"", b""), (b"abc", b"abc"), (b"abcd", b"abc")])
def test_a_file_is_read_up_to_the_limit(tmp_path, content, read):
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "link").symlink_to("file")

    assert read_regular_file(tmp_path / "file", 3) == read
    assert read_regular_file(tmp_path / "link", 3) == read


def test_a_sparse_file_of_a_terabyte_costs_no_more_than_the_limit(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        file.truncate(1 << 40)

    assert len(read_regular_file(tmp_path / "file")) == 4 << 20


def test_whatever_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()

    for path in (tmp_path / "fifo", tmp_path / "directory", Path("/dev/zero"), tmp_path / "none"):
        with pytest.raises(OSError, match=r"regular file|No such file"):
            read_regular_file(path)
