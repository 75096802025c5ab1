# SPDX-License-Identifier: Apache-2.0
"""What one run leaves to the next, and what is not believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooMtrace.reconcile.checkpoint import Checkpoint, open_checkpoint, parse

BOOT = "1cfd1ec5-69f6-4723-812e-ff5c67412017"
STATE = Checkpoint(BOOT, 17, "2026-11-24T02:31:33.321081Z")


def test_a_checkpoint_is_parsed_as_it_was_dumped():
    assert STATE.dump() == (
        b"oomtrace-state 1\nboot_id 1cfd1ec5-69f6-4723-812e-ff5c67412017\noom_kill 17\n"
        b"time 2026-11-24T02:31:33.321081Z\n"
    )
    assert parse(STATE.dump()) == STATE


@pytest.mark.parametrize("size", range(len(STATE.dump())))
def test_a_truncated_checkpoint_is_rejected(size):
    assert parse(STATE.dump()[:size]) is None


def test_a_checkpoint_with_something_before_or_after_it_is_rejected():
    assert parse(STATE.dump() + b"\n") is None
    assert parse(STATE.dump() * 2) is None
    assert parse(b"\n" + STATE.dump()) is None


@given(st.binary(max_size=200))
def test_any_other_text_is_rejected(data):
    assert parse(data) is None


@pytest.mark.parametrize(
    ("old", "new"), [(b"17", b"-17"), (b"17", b"1" * 19), (b"state 1", b"state 2"), (b"T02", b"\xff02"), (b"17", b"")]
)
def test_a_value_that_no_run_writes_is_rejected(old, new):
    assert parse(STATE.dump().replace(old, new)) is None


@pytest.mark.parametrize(
    ("new", "written"),
    [
        (Checkpoint("a", 17, "2023-11-14T22:13:20Z"), False),
        (Checkpoint("a", 18, "2023-11-14T22:13:20Z"), True),
        (Checkpoint("b", 3, "2023-11-14T22:13:20Z"), True),
        (Checkpoint("b", 17, "2023-11-14T22:13:20Z"), True),
        (None, False),
    ],
)
def test_a_checkpoint_is_written_when_its_position_changes_also_to_a_smaller_count(tmp_path, new, written):
    old = Checkpoint("a", 17, "2023-11-14T22:13:19Z")
    with open_checkpoint(tmp_path / "state", print) as store:
        store.save(old)
        store.save(new)
        assert store.checkpoint == (new if written else old)
    with open_checkpoint(tmp_path / "state", print) as store:
        assert store.checkpoint == (new if written else old)


def test_after_another_boot_the_kernel_counts_from_0():
    assert STATE.ordinal_in(BOOT) == 17
    assert STATE.ordinal_in("another") == 0
    assert STATE.ordinal_in(None) == 0
