# SPDX-License-Identifier: Apache-2.0
"""The kernel's own count of kills."""

from __future__ import annotations

import pytest

from ooMtrace.kernel.kill_counter import read_kill_count


@pytest.mark.parametrize(
    ("text", "count"), [("oom_kill 0\n", 0), ("a 1\noom_kill 17\n", 17), ("xoom_kill 3\n", None), ("", None)]
)
def test_the_kill_count_is_read_from_vmstat(tmp_path, text, count):
    (tmp_path / "vmstat").write_text(text)

    assert read_kill_count(tmp_path) == count
    assert read_kill_count(tmp_path / "nowhere") is None
