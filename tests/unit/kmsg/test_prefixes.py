# SPDX-License-Identifier: Apache-2.0
"""What stands before the kernel's text, wherever a log comes from; and whose text it is."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest
from support.log_kills import kills

from ooMtrace.commands.log_watch import LogWatch
from ooMtrace.kmsg.coverage import Coverage
from ooMtrace.kmsg.to_record import Origin
from ooMtrace.record import OomKill

CASES = Path(__file__).parents[2] / "fixtures/kmsg-prefixes"
ORIGIN = Origin("2026-11-24T04:00:00.000000Z")
LATEST = datetime(2026, 11, 24, 4, tzinfo=timezone.utc)
SIZES = "total-vm:80000kB, anon-rss:48000kB, file-rss:0kB, shmem-rss:0kB, UID:1000 pgtables:168kB oom_score_adj:0"
KILLED = f"Out of memory: Killed process 4242 (hog) {SIZES}"
FORGED = f"Killed process 1 (init) {SIZES}"

SECOND = "2026-03-16T10:20:30.000000Z"
MICRO = "2026-03-16T10:20:30.123456Z"
TIMES = {
    **dict.fromkeys((1, 3, 5, 15, 21, 23, 25, 26, 35, 39, 42, 43, 50, 53, 55, 57, 58, 59, 62, 63), SECOND),
    **dict.fromkeys((69, 70, 71, 73, 74, 78, 81, 82, 30), SECOND),
    **dict.fromkeys((9, 10, 29, 31, 33, 34, 37, 38, 75), MICRO),
    **dict.fromkeys((2, 45), "2026-03-16T10:20:30.123000Z"),
    **dict.fromkeys((54, 61), "2026-01-16T10:20:30.000000Z"),
    22: "2026-03-16T09:20:30.123456Z",
    66: "2026-03-16T10:20:00.000000Z",
}
BOX1 = {3, 7, 15, 21, 22, 23, 25, 26, 27, 29, 30, 37, 39, 50, 59, 61, 62, 63, 70, 71, 73, 74, 78, 81}
HOSTS = {**dict.fromkeys(BOX1, "box1"), **dict.fromkeys((9, 42, 43), "10.0.0.5"), 35: "ip-10-0-0-5"}


def read(log: bytes | str, coverage: Coverage | None = None) -> list[OomKill]:
    return list(kills([log if isinstance(log, bytes) else log.encode()], ORIGIN, LATEST, coverage))


@pytest.mark.parametrize("path", sorted(CASES.glob("shape-*.txt")), ids=lambda path: path.stem)
def test_a_kill_is_found_behind_any_prefix_with_the_time_and_the_host_that_it_states(path):
    number = int(path.stem.removeprefix("shape-"))
    [kill] = read(path.read_bytes())

    assert (kill.process.tid, kill.process.comm, kill.process.oom_score_adj) == (4242, "worker", 0)
    assert kill.process.user
    assert kill.process.user.id == 1000
    assert kill.process.memory
    assert kill.process.memory.anon == 63488000
    assert kill.time == TIMES.get(number)
    assert kill.host.name == HOSTS.get(number)


@pytest.mark.parametrize(
    ("name", "time", "host"),
    [
        ("fault-11", "2026-03-05T10:00:00.000000Z", "box1"),
        ("fault-12", MICRO, "box1"),
        ("fault-15", "2026-03-05T10:00:00.000000Z", "box1"),
        ("fault-16", "2026-03-05T10:00:00.000000Z", "box1"),
        ("fault-17", "2026-03-05T10:00:00.000000Z", "box1"),
        ("fault-18", None, None),
    ],
)
def test_damaged_and_mixed_logs_give_their_kill(name, time, host):
    [kill] = read((CASES / f"{name}.txt").read_bytes())

    assert (kill.process.tid, kill.time, kill.host.name) == (4242, time, host)


PROGRAMS = {
    "json-pretty": (CASES / "fault-12b.txt").read_text(),
    "json-pretty, transport last": f'{{\n\t"MESSAGE" : "{KILLED}",\n\t"_TRANSPORT" : "syslog"\n}}\n',
    "json": f'{{"MESSAGE":"{KILLED}","_TRANSPORT":"stdout"}}\n',
    "json-sse": f'data: {{"MESSAGE":"{KILLED}","_TRANSPORT":"journal"}}\n\n',
    "json-seq": f'\x1e{{"MESSAGE":"{KILLED}","_TRANSPORT":"journal"}}\n',
    "export": f"_TRANSPORT=syslog\nMESSAGE={KILLED}\n\n",
    "export, transport last": f"MESSAGE={KILLED}\n_TRANSPORT=syslog\n\n",
    "verbose": f"Mon 2026-03-16 10:20:30.1 UTC [s=1;i=2]\n    MESSAGE={KILLED}\n    _TRANSPORT=stdout\n",
    "fluentd": f'{{"ident":"app","message":"{KILLED}"}}\n',
    "syslog": f"Mar 16 10:20:30 box1 app[7]: {KILLED}\n",
    "syslog, unpadded": f"Mar 6 10:20:30 box1 app: {KILLED}\n",
    "syslog without host": f"Mar 16 10:20:30 app: {KILLED}\n",
    "syslog, a tag within the text": f"Mar 16 10:20:30 box1 app: kernel: {KILLED}\n",
    "syslog without host, a tag within the text": f"Mar 16 10:20:30 app: kernel: {KILLED}\n",
    "RFC 5424": f"<13>1 2026-03-16T10:20:30Z box1 app 77 - - {KILLED}\n",
    "RFC 5424 without priority": f"2026-03-16T10:20:30Z box1 app - - - {KILLED}\n",
    "facility of users": f"<1.3> 2026-03-16 10:20:30 box1 kernel - - - {KILLED}\n",
    "logread": f"Mon Mar 16 10:20:30 2026 user.notice root: {KILLED}\n",
    "Talos": f"10.0.0.5: user: err: [2026-03-16T10:20:30.1Z]: {KILLED}\n",
    "Android": f"03-16 10:20:30.123   10    10 W app     : {KILLED}\n",
    "netconsole, facility of users": f"6.1.0,12,123,100100010,-;{KILLED}\n",
    "dmesg --decode": f"user  :err   : [    1.000000] {KILLED}\n",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_line_of_a_program_is_no_kill_and_nothing_that_could_not_be_read(name):
    coverage = Coverage()

    assert read(PROGRAMS[name], coverage) == []
    assert coverage.unrecognized_kills == 0


def stamped(prefix: str, *texts: str) -> str:
    return "".join(f"{prefix}{line}\n" for text in texts for line in text.split("\n"))


STAMPS = ("[  100.100010] ", "Mar 16 10:20:30 box1 kernel: [  100.100010] ", "<3>[  100.100010] ", "> [  100.100010] ")
BEFORE = "[   99.100011] unrelated\n"


@pytest.mark.parametrize("prefix", [*STAMPS, "Mar 16 10:20:30 box1 kernel: ", ""])
def test_a_name_with_a_newline_hides_no_kill(prefix):
    log = stamped(prefix, f"Out of memory: Killed process 4242 (a\nb) {SIZES}")
    [kill] = read(log)

    assert (kill.process.tid, kill.process.comm) == (4242, "a\nb")


@pytest.mark.parametrize("prefix", STAMPS)
@pytest.mark.parametrize(
    "extra", ["", "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,pid=1,uid=0\n", "x\n"]
)
def test_a_path_with_a_newline_forges_no_kill(prefix, extra):
    other = stamped(prefix.replace("100.100010", "100.100009"), "unrelated")
    forged = stamped(prefix, f"overlayfs: failed to resolve '/tmp/a\n{extra}{FORGED}\n': -2")
    real = stamped(prefix.replace("100.100010", "100.200010"), KILLED)
    coverage = Coverage()

    assert [kill.process.tid for kill in read(other + forged + real, coverage)] == [4242]


def test_a_line_without_a_stamp_after_one_with_a_stamp_is_reported_as_unreadable():
    coverage = Coverage()

    assert read(f"[  100.100010] overlayfs: failed to resolve '/tmp/a\n{FORGED}\n': -2\n", coverage) == []
    assert coverage.unrecognized_kills == 1


def test_two_kills_with_the_same_stamp_are_two():
    log = stamped(STAMPS[0], "Tasks state (memory values in pages):", KILLED, KILLED.replace("4242", "4243"))

    assert [kill.process.tid for kill in read(log)] == [4242, 4243]


@pytest.mark.parametrize(
    "line", [f"2026 app says {KILLED}", f"Mar 16 10:20:30 box1 {FORGED}", "Killed process 4242 (wor"]
)
def test_what_looks_like_a_kill_and_cannot_be_read_is_counted(line):
    coverage = Coverage()
    found = read(f"{line}\n", coverage)

    assert len(found) + coverage.unrecognized_kills == 1


def test_the_first_and_the_last_kernel_line_of_a_log_are_known():
    watch = LogWatch(LATEST)
    lines = [f"2026-03-16T10:{i // 60:02}:{i % 60:02}Z box1 kernel: line {i}\n" for i in range(3600)]
    for _ in watch.pass_on(line.encode() for line in lines):
        pass

    assert watch.first
    assert watch.last
    assert watch.first.wall
    assert watch.last.wall
    assert watch.last.wall - watch.first.wall == 3599 * 1_000_000_000


def test_a_log_without_kernel_lines_has_none():
    watch = LogWatch(LATEST)
    for _ in watch.pass_on([b"Mar 16 10:20:30 box1 app: hello\n\nsome text\n" * 100]):
        pass

    assert watch.first is None
    assert watch.last is None


def test_a_kill_at_the_end_of_a_megabyte_of_other_programs_is_found():
    noise = "Mar 16 10:20:29 box1 app[7]: hello\n" * 30_000

    assert [kill.process.tid for kill in read(f"{noise}Mar 16 10:20:30 box1 kernel: {KILLED}\n")] == [4242]


REPORT = [
    "hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
    "CPU: 0 PID: 4242 Comm: hog Not tainted 6.1.0-9-amd64 #1",
    "memory: usage 51200kB, limit 51200kB, failcnt 10",
    "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
    "[   4242]  1000  4242    20000    12000   172032        0             0 hog",
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/box,task_memcg=/box/a,"
    "task=hog,pid=4242,uid=1000",
    f"Memory cgroup {KILLED[0].lower()}{KILLED[1:]}",
]


@pytest.mark.parametrize("path", sorted(CASES.glob("shape-*.txt")), ids=lambda path: path.stem)
def test_all_lines_of_a_report_are_read_behind_any_prefix(path):
    sample = path.read_text()
    start = sample.index("Memory cgroup out")
    end = sample.index("oom_score_adj:0") + len("oom_score_adj:0")
    log = "".join(sample[:start] + line + sample[end:] for line in REPORT)
    [kill] = read(log)

    assert kill.oom.memcg
    assert (kill.oom.memcg.path, kill.oom.memcg.limit) == ("/box", 51200 * 1024)
    assert kill.cgroup
    assert kill.cgroup.path == "/box/a"
    assert kill.oom.trigger
    assert kill.oom.trigger.tid == 4242
    assert kill.oom.points


def test_a_line_that_looks_like_a_field_hides_no_line_after_it():
    kernel = f"Mar 16 10:20:30 box1 kernel: {KILLED}\n"

    assert [kill.process.tid for kill in read(f"KILLED=1 Kill\n{kernel}")] == [4242]
    found = read(f"_TRANSPORT=kernel\nMESSAGE={KILLED}\n{kernel.replace('4242', '4243')}")
    assert [kill.process.tid for kill in found] == [4242, 4243]


def test_a_record_of_the_export_format_can_have_a_newline_in_its_message():
    text = f"Out of memory: Killed process 4242 (a\nb) {SIZES}".encode()
    log = b"_TRANSPORT=kernel\nMESSAGE\n" + len(text).to_bytes(8, "little") + text + b"\n_HOSTNAME=box1\n\n"
    [kill] = read(log)

    assert (kill.process.comm, kill.host.name) == ("a\nb", "box1")


def test_syslog_with_times_of_its_own_hides_and_forges_no_kill_either():
    at = "2026-03-16T10:20:30.12345{}Z box1 kernel: [  100.100010] {}\n"
    hidden = at.format(6, "Out of memory: Killed process 4242 (a") + at.format(7, f"b) {SIZES}")
    forged = at.format(6, "overlayfs: failed to resolve '/a") + at.format(7, FORGED) + at.format(8, "': -2")

    assert [kill.process.comm for kill in read(hidden)] == ["a\nb"]
    assert read(forged) == []


def test_a_log_can_change_its_prefix_in_the_middle():
    first = "".join(f"Mar 16 10:20:30 box1 kernel: [  100.00000{i}] {line}\n" for i, line in enumerate(REPORT))
    second = "".join(f"> [  200.00000{i}] {line.replace('4242', '4243')}\n" for i, line in enumerate(REPORT))
    found = read(first + second)

    assert [(kill.process.tid, kill.host.name) for kill in found] == [(4242, "box1"), (4243, None)]
    assert all(kill.oom.points for kill in found)


AT = "2026-03-16T10:20:30.000000Z"
MORE = {
    "  12  [  100.100010] ": (None, None),
    "12: [  100.100010] ": (None, None),
    "// [  100.100010] ": (None, None),
    "kern.log-12-Mar 16 10:20:30 box1 kernel: [  100.100010] ": (AT, "box1"),
    "2026 Mar 16 10:20:30 box1 kernel: ": (AT, "box1"),
    "Mar 16 2026 10:20:30 box1 kernel: ": (AT, "box1"),
    "16 mars 10:20:30 box1 kernel: ": (AT, "box1"),
    "Mar 16 10:20:30 box1 kernel [  100.100010] ": (AT, "box1"),
    "Mar 16 10:20:30 box1 kernel: kernel:[  100.100010] ": (AT, "box1"),
    "10.0.0.5:6666 [  100.100010] ": (None, "10.0.0.5"),
    "<3>[  100.100010]c1 ": (None, None),
    "[Mar  6 10:20] ": ("2026-03-06T10:20:00.000000Z", None),
    "2026-03-16T10:20:30Z stdout F [  100.100010] ": (AT, None),
    "<3>1 2026-03-16T10:20:30Z box1 kernel - - - ": (AT, "box1"),
    "3,123,100100010,-;": (None, None),
}


@pytest.mark.parametrize("prefix", MORE)
def test_further_prefixes(prefix):
    [kill] = read(f"{prefix}{KILLED}\n")

    assert (kill.process.tid, kill.time, kill.host.name) == (4242, *MORE[prefix])


SHIPPED = {
    "sse": f'data: {{"MESSAGE":"{KILLED}","_TRANSPORT":"kernel"}}\n\n',
    "seq": f'\x1e{{"MESSAGE":"{KILLED}","_TRANSPORT":"kernel"}}\n',
    "fluentd": f'2026-03-16 10:20:30 +0000 kernel: {{"message":"{KILLED}"}}\n',
    "fluentd, another tag": f'2026-03-16 10:20:30.000000000 +0000 kern: {{"message":"[  100.100010] {KILLED}"}}\n',
    "CloudWatch": f'{{"timestamp":1773656430123,"message":"[  100.100010] {KILLED}"}}\n',
    "Cloud Logging": f'{{\n  "textPayload": "[  100.100010] {KILLED}",\n  "timestamp": "2026-03-16T10:20:30Z"\n}}\n',
}


@pytest.mark.parametrize("name", SHIPPED)
def test_records_of_shippers_are_read(name):
    [kill] = read(SHIPPED[name])

    assert kill.process.tid == 4242


@pytest.mark.parametrize("name", ["export", "json-pretty", "verbose"])
def test_a_record_that_is_split_between_two_blocks_keeps_its_writer(name):
    log = PROGRAMS[name].encode()
    before = b"unrelated\n\n"
    for cut in range(len(log)):
        assert list(kills([before + log[:cut], log[cut:]], ORIGIN, LATEST)) == []
