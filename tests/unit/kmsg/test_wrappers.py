# SPDX-License-Identifier: Apache-2.0
"""Lines as relays, shippers, tables, web pages, consoles and other tools wrap them, often one in another."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
from support.log_kills import kills

from ooMtrace.kmsg.coverage import Coverage
from ooMtrace.kmsg.to_record import Origin

ORIGIN = Origin("2026-11-24T04:00:00.000000Z")
LATEST = datetime(2026, 11, 24, 4, tzinfo=timezone.utc)
KILL = (
    "Memory cgroup out of memory: Killed process 4242 (worker) total-vm:80000kB, anon-rss:62000kB, file-rss:2000kB, "
    "shmem-rss:0kB, UID:1000 pgtables:168kB oom_score_adj:0"
)

WRAPPED = json.loads((Path(__file__).parents[2] / "fixtures/kmsg-wrapped.json").read_text())


@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapped_line_gives_its_kill_with_the_time_and_the_host_that_it_states(name):
    wrapped = WRAPPED[name]
    coverage = Coverage()
    [kill] = kills([wrapped["line"].replace("KILL", KILL).encode() + b"\n"], ORIGIN, LATEST, coverage)

    assert (kill.process.tid, kill.process.comm, kill.process.oom_score_adj) == (4242, "worker", 0)
    assert kill.process.user.id == 1000
    assert kill.process.memory.anon == 62000 << 10
    assert (kill.time, kill.host.name) == (wrapped["time"], wrapped["host"])
    assert coverage.unrecognized_kills == 0


UNREADABLE = {
    "relay name bare": "Mar 16 10:20:30 box1 KILL",
    "stern": "node-x dmesg [  100.100010] KILL",
    "csv splunk": '"Mar 16 10:20:30 box1 kernel: KILL","2026-03-16T10:20:30.000+0000",box1',
    "vmware esx": "2026-03-16T10:20:30.123Z cpu4:4242)KILL",
    "k8s event": "Warning  OOMKilling  3m  kernel-monitor  KILL",
    "irc3": "[10:20:30] <joe> [  100.100010] KILL",
    "logfmt": 'ts=2026-03-16T10:20:30.123456789Z level=error host=box1 msg="KILL"',
    "aws logs text": "EVENTS\t1773656430123\tMar 16 10:20:30 box1 kernel: KILL\t1773656430000",
    "a vendor's words behind the stamp": "[  100.100010] vendor_log: cpu 3 KILL",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_wrapped_line_that_cannot_be_read_is_counted(name):
    coverage = Coverage()

    assert list(kills([UNREADABLE[name].replace("KILL", KILL).encode() + b"\n"], ORIGIN, LATEST, coverage)) == []
    assert coverage.unrecognized_kills == 1


PROGRAMS = {
    "forwarded": "Mar 16 10:20:31 relay1 Mar 16 10:20:30 box1 app: KILL",
    "a stamp behind another tag": "Mar 16 10:20:30 box1 app: [  100.100010] KILL",
    "a stamp behind another tag without host": "Mar 16 10:20:30 app: [  100.100010] KILL",
    "Android, another tag": "I/ActivityManager(  512): KILL",
    "Android, another tag and a stamp": "03-16 10:20:30.123 I/app  (  512): [  100.100010] KILL",
    "CRI of another program's syslog": "2026-03-16T10:20:30.1Z stdout F Mar 16 10:20:30 box1 app: KILL",
    "docker of another program's syslog": '{"log":"Mar 16 10:20:30 box1 app: KILL\\n","time":"2026-03-16T10:20:30Z"}',
    "fluentd array of another program": '["app.log", 1773656430, {"ident": "app", "message": "KILL"}]',
    "structured data of another program": '<13>1 2026-03-16T10:20:30Z box1 app - - [meta x="y"] KILL',
    "journal in docker": '{"log":"{\\"MESSAGE\\":\\"KILL\\",\\"_TRANSPORT\\":\\"stdout\\"}\\n"}',
    "cloud facility": '{"Facility":"user","SyslogMessage":"KILL","Computer":"box1"}',
    "beats transport": '{"message":"KILL","journald":{"transport":"syslog"}}',
    "grep of another program": "kern.log:17:Mar 16 10:20:30 box1 app: KILL",
    "year behind the date": "Mar 16 10:20:30 2026 box1 app: KILL",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_programs_line_is_no_kill_in_any_wrapper(name):
    assert list(kills([PROGRAMS[name].replace("KILL", KILL).encode() + b"\n"], ORIGIN, LATEST)) == []


FORGED = {
    "quoted path": "overlayfs: failed to resolve '/tmp/a KILL'",
    "quoted path with a stamp": "overlayfs: failed to resolve '/tmp/a [  100.100010] KILL': -2",
    "quoted path with a date": "overlayfs: failed to resolve '/tmp/Mar 16 10:20:30 box1 kernel: KILL': -2",
    "option": 'overlayfs: unrecognized mount option "[  100.100010] KILL" or missing value',
    "option with a tag": 'overlayfs: unrecognized mount option "kernel: KILL" or missing value',
}
KERNEL_PREFIXES = (
    "",
    "[  100.100010] ",
    "Mar 16 10:20:30 box1 kernel: ",
    "<3>",
    "> ",
    "kern  :err   : [  100.100010] ",
)


@pytest.mark.parametrize("prefix", KERNEL_PREFIXES)
@pytest.mark.parametrize("name", FORGED)
def test_a_users_text_within_a_kernels_line_is_no_kill(name, prefix):
    assert list(kills([(prefix + FORGED[name].replace("KILL", KILL)).encode() + b"\n"], ORIGIN, LATEST)) == []
