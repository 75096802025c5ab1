# SPDX-License-Identifier: Apache-2.0
"""Which kills the options select, where the log does not state everything."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.commands.kill_filter import KillFilter

KILL = kill(process=record.Process(pid=100, tid=105, comm="worker"), cgroup=None)
SINCE = datetime(2026, 11, 24, tzinfo=timezone.utc)


def limited(memcg: str | None, own: str | None = None) -> record.OomKill:
    """Return a kill because of the limit of one cgroup, of a process in another."""
    oom = replace(KILL.oom, memcg=None if memcg is None else record.Memcg(path=memcg), group=None)
    return replace(KILL, oom=oom, cgroup=None if own is None else record.Cgroup(path=own, version=2))


@pytest.mark.parametrize(
    ("process", "choice"),
    [("100", "selected"), ("105", "selected"), ("10", "other"), ("worker", "selected"), ("work", "other")],
)
def test_a_process_is_selected_by_its_id_its_threads_id_or_its_name(process, choice):
    assert KillFilter(process=process).choose(KILL) == choice


@pytest.mark.parametrize(
    ("memcg", "own", "choice"),
    [
        ("/pod", None, "selected"),
        ("/pod", "/other", "selected"),
        ("/other", "/pod/web", "selected"),
        ("/podium", None, "other"),
        (None, None, "unknown"),
    ],
)
def test_a_cgroup_selects_its_members_and_the_kills_because_of_its_limit(memcg, own, choice):
    assert KillFilter(cgroup="/pod").choose(limited(memcg, own)) == choice


def test_what_one_option_excludes_need_not_be_known_to_another():
    undated = replace(limited("/other"), time=None)

    assert KillFilter(since=SINCE).choose(undated) == "unknown"
    assert KillFilter(since=SINCE, cgroup="/pod").choose(undated) == "other"
    assert KillFilter(since=SINCE, process="other").choose(undated) == "other"
    assert KillFilter(since=SINCE, cgroup="/other").choose(undated) == "unknown"
