# SPDX-License-Identifier: Apache-2.0
"""Which facts a record names as missing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.assembler_stream import only
from support.probe_events import decision, victim, victim_event

from ooMtrace import record
from ooMtrace.assemble.attribution import UNKNOWN_RSS
from ooMtrace.events import Task

NO_CONTEXT = {
    f"process.{name}" for name in ("executable", "working_directory", "open_files", "connections", "command_args")
}
"""What is missing without a context."""


def test_a_record_without_known_facts_names_all_of_them():
    unknown_task = Task(None, None, None, None)
    blank = replace(victim(), **dict.fromkeys(("uid", "start_boottime", "oom_score_adj", "threads", "pgtables_bytes")))
    blank = replace(blank, task=unknown_task, parent=unknown_task, rss=UNKNOWN_RSS, total_vm=None, hiwater_rss=None)
    blank = replace(blank, pid_ns=None, net_ns=None, hostname=None)

    kill = only(
        victim_event(
            victim=blank, trigger=unknown_task, memcg=(), memcg_path=None, memcg_version=None, unified_id=None, stack=()
        )
    )

    assert kill.message == "a process (pid None) was killed by the kernel's OOM killer: memory ran out"
    assert set(record.missing_facts(kill)) == {
        *("oom.scope", "oom.constraint", "oom.gfp_mask", "oom.order", "oom.limit_bytes", "oom.points"),
        *("oom.trigger.pid", "oom.trigger.tid", "oom.trigger.comm"),
        *(f"process.{name}" for name in ("pid", "tid", "vpid", "comm", "threads", "oom_score_adj")),
        *("process.parent", "process.user", "process.creation", "process.memory"),
        *("namespace", "cgroup"),
        *NO_CONTEXT,
    }


def test_of_an_object_known_in_part_the_unknown_members_are_named():
    kill = only(victim_event(victim=victim(parent=Task(90, None, None, None), pid_ns=None, net_ns=None)))

    assert set(record.missing_facts(kill)) == {
        *("oom.constraint", "oom.gfp_mask", "oom.order"),
        *("process.parent.vpid", "process.parent.comm", "namespace.pid_ns", "namespace.net_ns"),
        *NO_CONTEXT,
    }


@pytest.mark.parametrize(("constraint", "expected"), [(3, ["oom.memcg"]), (0, [])])
def test_a_memory_cgroup_is_missing_only_with_scope_memcg(constraint, expected):
    kill = only(victim_event(decision=decision(constraint=constraint, memcg_id=None)), "full")

    assert [name for name in record.missing_facts(kill) if name not in NO_CONTEXT] == expected
