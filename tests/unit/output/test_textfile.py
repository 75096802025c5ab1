# SPDX-License-Identifier: Apache-2.0
"""The file for node_exporter, beside what earlier runs and other users have left in its folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

import pytest

from ooMtrace.output.textfile import TextFile


@pytest.fixture
def private_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("private_umask")
def test_another_user_can_read_the_file_whatever_the_umask_is(tmp_path):
    TextFile("prometheus", tmp_path / "oom.prom", lambda: b"a 1\n").connect()

    assert stat.S_IMODE((tmp_path / "oom.prom").stat().st_mode) == 0o644


def test_a_draft_that_an_earlier_run_has_left_is_replaced(tmp_path):
    draft = tmp_path / f".oom.prom.{os.getpid()}"
    draft.write_text("of an earlier run with this pid")

    TextFile("prometheus", tmp_path / "oom.prom", lambda: b"a 1\n").connect()

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"oom.prom": "a 1\n"}


def test_a_link_in_place_of_the_draft_is_not_followed(tmp_path):
    other = tmp_path / "other"
    other.write_text("of another user")
    (tmp_path / f".oom.prom.{os.getpid()}").symlink_to(other)

    TextFile("prometheus", tmp_path / "oom.prom", lambda: b"a 1\n").connect()

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "oom.prom": "a 1\n",
        "other": "of another user",
    }
