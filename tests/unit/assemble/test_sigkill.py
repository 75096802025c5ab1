# SPDX-License-Identifier: Apache-2.0
"""The record of a SIGKILL, and which SIGKILLs are one incident."""

from __future__ import annotations

import json
from dataclasses import replace

from support.probe_events import HOST, NOW
from support.sigkill_events import event, records

from ooMtrace.assemble.sigkill import MAX_INCIDENTS, MAX_VICTIMS, UNKNOWN_RSS, SigkillAssembler
from ooMtrace.events import Rss, Task
from ooMtrace.output.encode import encode


def incidents(*events):
    return [found.sigkill.incident for found in records(*events)]


def test_a_record_has_victim_sender_and_cgroup(validate):
    (found,) = records(event())

    line = json.loads(encode(found))
    validate(line)
    assert (line["event"], line["severity"], line["time"]) == ("sigkill", "WARN", "2023-11-14T22:13:19.000000Z")
    assert line["sigkill"]["sender"] == {
        "pid": 512,
        "comm": "systemd-oomd",
        "user": {"id": 998},
        "cgroup": "/system.slice/systemd-oomd.service",
    }
    assert "via_cgroup_kill" not in line["sigkill"]
    process = line["process"]
    assert (process["pid"], process["vpid"], process["comm"], process["threads"]) == (7, 1, "ruby", 8)
    assert process["memory"]["anon"] == 8192
    assert process["memory"]["peak_rss"] == 6 * 4096
    assert line["cgroup"] == {"path": "/system.slice/sidekiq.service", "id": "5", "version": 2}


def test_an_approximate_counter_below_zero_is_a_size_of_zero():
    rss = Rss(file=1, anon=2, swap=0, shmem=-3)
    (found,) = records(event(victim=replace(event().victim, rss=rss, rss_sum=UNKNOWN_RSS)))

    memory = found.process.memory
    assert memory is not None
    assert (memory.anon, memory.shmem, memory.peak_rss) == (8192, 0, 5 * 4096)


def test_the_arguments_at_exec_are_derived_and_may_be_cut():
    (found,) = records(event(exec_args=(b"ruby\0-x\0", 8)))
    assert (found.process.command_args, found.derived, found.truncated) == (
        ("ruby", "-x"),
        ("process.command_args",),
        None,
    )

    (cut,) = records(event(exec_args=(b"r" * 256, 300)))
    assert cut.truncated == ("process.command_args",)


def test_a_thread_and_an_inner_pid_of_the_sender_are_stated():
    (found,) = records(replace(event(), sender=Task(512, 513, 2, "oomd")))

    assert (found.sigkill.sender.tid, found.sigkill.sender.vpid) == (513, 2)


def test_signals_of_one_sender_to_one_cgroup_within_a_second_are_one_incident():
    first, second, third = incidents(event(7, 4000), event(8, 4999), event(9, 5999))

    assert first == second
    assert third != first


def test_another_sender_or_cgroup_is_another_incident():
    found = incidents(event(7, 4000), event(8, 4001, sender=513), event(9, 4002, memcg_id=6))

    assert len(set(found)) == 3


def test_a_write_to_cgroup_kill_is_one_incident_in_all_cgroups_below():
    found = incidents(
        event(7, 4000, cgroup_kill=True),
        event(8, 4050, cgroup_kill=True, memcg_id=6),
        event(9, 4050),
        event(10, 4150, cgroup_kill=True),
    )

    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_a_process_has_one_record_even_if_each_thread_is_sent_a_signal():
    assert [found.process.pid for found in records(event(7), event(7, 4001), event(8, 4002))] == [7, 8]


def test_a_pid_that_is_used_again_has_a_record_again():
    assert len(records(event(7, 4000, start=1), event(7, 4001, start=2))) == 2


def test_records_are_in_the_order_of_their_time():
    assert [found.process.pid for found in records(event(7, 4001), event(8, 4000))] == [8, 7]


def test_what_is_kept_is_bounded():
    assembler = SigkillAssembler(HOST, "full")
    many = (event(pid, 4000 + pid, memcg_id=pid) for pid in range(1, 3000))

    assert len(list(assembler.add(many, NOW))) == 2999
    assert len(assembler._incidents) == MAX_INCIDENTS
    assert len(assembler._victims) == MAX_VICTIMS
