# SPDX-License-Identifier: Apache-2.0
"""Reports of many kernels: each with its exact records, and with what a person reads in it."""

from __future__ import annotations

import gzip
import json
import lzma
import random
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from support.log_kills import kills

from ooMtrace.kmsg.scanner import records
from ooMtrace.kmsg.to_record import Origin, with_seq
from ooMtrace.output.encode import encode, plain
from ooMtrace.record import OomKill

CORPUS = Path(__file__).parents[2] / "fixtures/kmsg"
LOGS = {path.name.split(".log")[0]: path for path in sorted(CORPUS.glob("*.log*"))}
READ = Origin("2026-11-24T04:00:00.000000Z")
LATEST = datetime(2026, 11, 24, 4, tzinfo=timezone.utc)
K = 1024


def content(name: str) -> bytes:
    data = LOGS[name].read_bytes()
    return {".gz": gzip.decompress, ".xz": lzma.decompress}.get(LOGS[name].suffix, bytes)(data)


def read(data: bytes, latest: datetime = LATEST) -> list[OomKill]:
    return list(kills([data], READ, latest))


@pytest.mark.parametrize("name", LOGS)
def test_each_report_gives_exactly_its_records(name):
    found = [plain(with_seq(each, seq)) for seq, each in enumerate(records([content(name)], READ, LATEST), 1)]

    assert found == json.loads((CORPUS / f"{name}.json").read_text())


def test_the_corpus_is_large_and_each_log_has_its_records():
    real = [name for name in LOGS if not name.startswith(("made-", "format-"))]

    assert len(real) >= 40
    assert {path.stem for path in CORPUS.glob("*.json")} == set(LOGS)


@pytest.mark.parametrize("name", [name for name in LOGS if not name.startswith(("format-", "made-"))])
def test_the_numbers_are_those_in_the_kernels_lines(name):
    """Find each kill in the log by its pid, and compare everything that its line states."""
    lines = content(name).decode(errors="backslashreplace").replace("\n               ", "\0").split("\n")
    for kill in read(content(name)):
        if kill.oom.verdict == "shared_mm":
            continue
        [*_, line] = [text for text in lines if f"Killed process {kill.process.tid}" in text]
        words = dict(re.findall(r"([\w-]+):(-?\d+)", line[line.index("Killed process") :]))
        memory = kill.process.memory
        assert memory
        assert memory.total_vm == int(words["total-vm"]) * K
        assert memory.anon == int(words["anon-rss"]) * K
        assert memory.file == int(words["file-rss"]) * K
        assert memory.shmem == (int(words["shmem-rss"]) * K if "shmem-rss" in words else None)
        assert f"({kill.process.comm})".replace("\n", "\0") in line
        if "oom_score_adj" in words:
            assert kill.process.oom_score_adj == int(words["oom_score_adj"])
        uid = re.search(r"UID[ :](\d+)", line)
        if uid:
            assert kill.process.user
            assert kill.process.user.id == int(uid[1])


TRACED = {path.stem: path for path in sorted((CORPUS / "traced").glob("*.json"))}


def fact(line: Any, name: str) -> Any:
    for part in name.split("."):
        line = line.get(part) if isinstance(line, dict) else None
    return line


@pytest.mark.parametrize("name", TRACED)
def test_no_record_contradicts_what_was_traced_of_the_same_kills(name):
    """An independent witness: what the probes reported of the same kills on the same machines."""
    logged, traced = [plain(kill) for kill in read(content(name))], json.loads(TRACED[name].read_text())

    assert len(logged) == len(traced)
    for line, seen in zip(logged, traced, strict=True):
        stated = {name: fact(line, name) for name in seen if fact(line, name) is not None}
        assert stated == {name: seen[name] for name in stated}
        assert len(stated) >= 10


def whole(release: str) -> bytes:
    """Return the logs of a kernel as one, in the order of its clock."""
    logs = [content(name) for name in TRACED if re.match(rf"vm-{release}-(?!v1|container|postgres)", name)]
    logs.sort(key=lambda log: log[:14])
    return b"".join(logs)


WHOLE = {release: whole(release) for release in ("5.10.223", "5.10.262", "6.1", "6.12", "6.18", "7.3")}
ALIKE = (
    "process",
    "oom.scope",
    "oom.constraint",
    "oom.gfp_mask",
    "oom.trigger",
    "oom.memcg.path",
    "oom.memcg.limit",
    "oom.limit_bytes",
    "cgroup",
)


@pytest.mark.parametrize("release", WHOLE)
def test_lost_lines_make_records_incomplete_but_not_wrong(release):
    """Logs lose what comes too fast: stretches of lines, anywhere. What is still stated is what the whole log states.

    Two reports within three seconds, of which the end of one and the beginning of the other are lost, look like one:
    those of version 1 and of services are so close.
    """

    def flat(value: Any, prefix: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            return {prefix: value}
        return {key: leaf for name, inner in value.items() for key, leaf in flat(inner, f"{prefix}.{name}").items()}

    def facts(log: bytes) -> dict[str, dict[str, Any]]:
        found = {}
        for kill in read(log):
            line = plain(kill)
            groups = [flat(fact(line, name), name) for name in ALIKE if fact(line, name) is not None]
            found[kill.id] = {key: leaf for group in groups for key, leaf in group.items()}
        return found

    lines, dice = WHOLE[release].splitlines(keepends=True), random.Random(3)
    whole, seen = facts(WHOLE[release]), 0
    for _ in range(150):
        start = dice.randrange(len(lines))
        for ident, stated in facts(b"".join(lines[:start] + lines[start + dice.randint(1, 200) :])).items():
            if ident in whole:  # or it is the second death of a group's first, which has the same facts
                assert stated == {name: whole[ident].get(name, "not stated") for name in stated}
                seen += 1
    assert seen > 20


# What a person reads in the report, by hand: (pid, tid, comm, uid, scope, memcg, its limit, cgroup, trigger, points).
# Points are rss + swap + page tables + adj, added up by hand from the row of the table.
BY_EYE = {
    "rhel6-2.6.32-lxc": (None, 215701, "java", 679, "memcg", "/LXC0001", None, "/LXC0001", "java", None),
    "upstream-3.7-memcg": (2376, 2376, "mal-80", 1000, "memcg", None, None, None, "mal-80", None),
    "rhel7-3.10-global-kernlog": (None, 21945, "db-server", 1000, "global", None, None, None, "db-server", None),
    "rhel7-3.10-memcg": (25892, 25892, "grep", 9730, "memcg", "/site1", 524288 * K, "/site1", "grep", None),
    "rhel7-3.10-global-swap": (28792, 28792, "a.out", 0, "global", None, None, None, "a.out", None),
    "rhel7-3.10-runc-bracket": (61659, 61659, "runc:[2:INIT]", 0, "memcg", None, None, None, None, None),
    "ubuntu-3.13-global-swap": (1025, 1025, "icecast2", 106, "global", None, None, None, "web", None),
    "upstream-4.0-global": (4342, 4342, "resvtest", 0, "global", None, None, None, "resvtest", None),
    "upstream-4.3-sharing": (3780, 3780, "rcu-stall", 1000, None, None, None, None, None, None),
    "ubuntu-4.4-stress": (24387, 24387, "stress", 0, "memcg", "/memory-limit", 102400 * K, "/memory-limit", None, None),
    "coreos-4.14-pod-child": (24518, 24518, "chartserver", 0, "memcg", None, None, None, None, None),
    "ubuntu-4.14-journal-short": (4358, 4358, "bash", 1000, None, None, None, None, None, None),
    "upstream-4.15-child": (None, 1191, "b.out", None, None, None, None, None, "b.out", None),
    "upstream-4.16-memcg-child-bare": (None, 3876, "dd", None, "memcg", "/test", 51200 * K, None, "dd", None),
    "syzbot-4.18-limit-0": (6410, 6410, "syz-executor5", 0, "memcg", "/ile0", 0, "/ile0", None, 532 + 61440 // 4096),
    "upstream-4.19-leaker-bare": (
        None,
        2746,
        "leaker",
        None,
        "memcg",
        "/leaker",
        524288 * K,
        "/leaker",
        "leaker",
        None,
    ),
    "upstream-5.4-pgtables-in-bytes": (1878, 1878, "python", 1000, None, None, None, None, None, 151144 + 310),
    "upstream-5.5-pgtables": (1436, 1436, "python", 1000, None, None, None, None, None, 151890 + 316),
    "centos-5.4-memcg": (69431, 69431, "stress", 0, "memcg", "/mem_test", None, "/mem_test", None, 2378 + 17),
    "ubuntu-5.8-v1-bare": (
        *(19289, 19289, "memcg_process", 0, "memcg", "/ltp_19257", 132 * K, "/ltp_19257", "memcg_process", 389 + 10),
    ),
    "sgx-6.x-nobody-killable": None,
    "arch-6.8-grepped": (
        *(
            49358,
            49358,
            "grep",
            1000,
            "global",
            None,
            None,
            "/user.slice/user-1000.slice/session-3.scope",
            "grep",
            None,
        ),
    ),
    "vm-5.10.223-leaderless": (
        None,
        None,
        "victim",
        0,
        "memcg",
        "/leaderless-1",
        25165824,
        "/leaderless-1",
        "victim",
        None,
    ),
    "vm-6.12-swap": (None, None, "python", 0, "memcg", "/swap-1", None, "/swap-1", None, None),
    "vm-7.3-sysrq": (None, None, "victim", 0, "sysrq", None, None, "/sysrq-1", None, None),
}


@pytest.mark.parametrize("name", BY_EYE)
def test_the_records_state_what_a_person_reads_in_the_report(name):
    found, expected = read(content(name)), BY_EYE[name]
    if expected is None:
        assert found == []
        return
    kill = found[0]
    memcg, points, trigger = kill.oom.memcg, kill.oom.points, kill.oom.trigger
    seen: tuple[object, ...] = (
        kill.process.pid,
        kill.process.tid,
        kill.process.comm,
        kill.process.user.id if kill.process.user else None,
        kill.oom.scope,
        memcg.path if memcg else None,
        memcg.limit if memcg else None,
        kill.cgroup.path if kill.cgroup else None,
        trigger.comm if trigger else None,
        points.total if points else None,
    )
    if name.startswith("vm-"):  # numbers differ from run to run: the names do not
        seen = tuple(now if then is not None else None for now, then in zip(seen, expected, strict=True))
    assert seen == expected


@pytest.mark.parametrize(
    ("name", "path", "size"), [("vm-5.10.262-group", "/group-1", 8), ("vm-7.3-group", "/group-1", 8)]
)
def test_a_group_is_one_incident_with_one_chosen_and_its_members(name, path, size):
    found = read(content(name))

    assert len(found) == size == content(name).count(b"Killed process") - 1  # the first is killed twice
    assert [kill.oom.verdict for kill in found] == ["killed"] + ["group_member"] * (size - 1)
    assert len({kill.oom.incident for kill in found}) == 1
    assert all(kill.oom.group and (kill.oom.group.path, kill.oom.group.size) == (path, size) for kill in found)


@pytest.mark.parametrize("name", ["vm-5.10.223-leaderless", "vm-7.3-leaderless"])
def test_the_log_names_a_thread_and_the_record_the_process(name):
    [kill] = read(content(name))
    summary = re.search(rb"task=victim,pid=(\d+),", content(name))

    assert summary
    assert kill.process.pid == int(summary[1])
    assert kill.process.tid != kill.process.pid


def test_kills_without_their_rate_limited_headers_are_all_there_and_state_only_what_is_known():
    found = read(content("vm-6.12-storm"))
    rest = found[1:]

    assert len(found) == content("vm-6.12-storm").count(b"Killed process")
    assert len({kill.oom.incident for kill in found}) == len(found)
    assert {kill.oom.scope for kill in rest} == {"memcg"}
    assert {kill.oom.constraint for kill in rest} == {None}
    assert {kill.oom.trigger for kill in rest} == {None}
    assert {kill.process.pid for kill in rest} == {None}


def test_all_formats_of_one_report_give_the_same_records():
    """Only what a format lacks differs: clock, host, and by them the ids."""

    def essence(kill: OomKill) -> tuple[object, ...]:
        trigger = kill.oom.trigger and (kill.oom.trigger.comm, kill.oom.trigger.tid)
        return (kill.process, kill.oom.points, kill.oom.memcg, kill.oom.scope, kill.cgroup, trigger, kill.host.kernel)

    records = {name: [essence(kill) for kill in read(content(name))] for name in LOGS if name.startswith("format-")}

    assert len(records) > 20
    for name in records:
        assert len(records[name]) == 2
        assert records[name] == records["format-kmsg"]


@pytest.mark.parametrize("name", [name for name in LOGS if name.startswith("format-")])
def test_the_time_is_right_wherever_there_is_one(name):
    times = [kill.time for kill in read(content(name))]

    assert times[-1] in ("2026-11-24T02:48:41.709481Z", "2026-11-24T02:48:41.000000Z", None)
    assert (times[-1] is None) == (name in NO_WALL_TIME)


NO_WALL_TIME = {
    *("format-kmsg", "format-kmsg-caller", "format-dmesg", "format-dmesg-caller", "format-dmesg-decode"),
    *("format-console", "format-dmesg-json", "format-journal-short-monotonic", "format-dmesg-no-time"),
}


def test_with_the_boot_known_the_kernels_clock_becomes_a_time():
    booted = 1_795_473_279_500_000_000
    *_, kill = kills([content("format-kmsg")], Origin("x", booted=booted), LATEST)

    assert kill.time == "2026-11-24T02:48:41.709481Z"
    assert "time" in kill.derived  # nothing corrects that clock, so it drifts


def test_every_line_is_short_enough_and_valid_json():
    for name in LOGS:
        for seq, kill in enumerate(read(content(name)), 1):
            line = encode(with_seq(kill, seq))
            assert len(line) <= 8000
            assert json.loads(line)["fidelity"] == "log"
            assert len(line.splitlines()) == 1


def test_names_that_imitate_the_kernel_forge_nothing():
    [kill] = read(content("made-forged-names"))

    assert kill.process.comm == ") total-vm:9kB"
    assert kill.process.memory
    assert kill.process.memory.total_vm == 4000 * K
    assert kill.oom.memcg is None  # its path contains `task_memcg=`, too, so its end is unknown
    assert kill.cgroup is None


def test_reports_of_two_cpus_are_separated_by_caller():
    with_callers, without = read(content("made-two-cpus-callers")), read(content("made-two-cpus"))

    assert [kill.oom.memcg and kill.oom.memcg.path for kill in with_callers] == ["/a", "/b"]
    assert [kill.process.tid for kill in without] == [101, 202]
    assert [(kill.oom.scope, kill.oom.memcg, kill.cgroup, kill.oom.trigger) for kill in without] == [(None,) * 4] * 2
