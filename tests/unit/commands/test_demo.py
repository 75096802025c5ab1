# SPDX-License-Identifier: Apache-2.0
"""`oomtrace demo` recognises the kill that it made itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.commands import demo
from ooMtrace.kernel.scratch_cgroup import ScratchCgroup


@pytest.mark.parametrize(
    ("path", "pid", "ours"),
    [
        ("/oomtrace-demo-1", 5000, True),
        ("/docker/0123/oomtrace-demo-1", 5000, True),
        ("/oomtrace-demo-2", 7, False),
        (None, 7, True),
        (None, 5000, False),
    ],
)
def test_the_demo_knows_its_victim_by_its_cgroup_first(path, pid, ours):
    memcg = record.Memcg(path=path) if path else None
    one = kill(process=record.Process(pid=pid, tid=pid), oom=record.Oom(incident="", memcg=memcg))

    assert demo._is_ours(one, 7, ScratchCgroup(Path("/x"), "/oomtrace-demo-1", 1)) is ours
