# SPDX-License-Identifier: Apache-2.0
"""`oomtrace scores`: its tables, its JSON, and what it says of one process. On the processes of this host."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ooMtrace import cli
from ooMtrace.explain.layout import width
from ooMtrace.scores.badness import Usage
from ooMtrace.scores.domains import Domain
from ooMtrace.scores.processes import Candidate
from ooMtrace.scores.table import explanation, text


def candidate(pid: int, memory: int, adj: int = 0, title: str = "worker", *, is_exempt: bool = False) -> Candidate:
    usage = Usage(rss=memory, swap=2, page_tables=1, adj=adj, is_exempt=is_exempt)
    return Candidate(pid=pid, comm="w\x1b", title=title, user=0, cgroup="/a", usage=usage, oom_score=700, started=pid)


def domain(*processes: Candidate, path: str | None = "/a", limit: int = 4096 * 10_000) -> Domain:
    return Domain(
        path=path, limit=limit, usage=limit // 2, total_pages=limit // 4096, pressure={"some": 1.5}, processes=processes
    )


def test_a_table_has_a_row_for_each_process_within_the_width_of_the_terminal():
    shown = text([domain(candidate(7, 500, 10, "勘定 " * 90), candidate(8, 20, -1000, "\x1b[31m"))], 4096, 100, 10, {})
    rows = shown.splitlines()

    assert rows[0] == "/a: limit 39.1 MiB, no swap, 19.5 MiB free, waiting for memory: some 1.5 %"
    assert rows[2].split()[:6] == ["1", "603", "2.0", "MiB", "12", "KiB"]
    assert rows[3].split()[:1] == ["exempt"]
    assert all(width(row) <= 100 for row in rows)
    assert "\x1b" not in shown


def test_the_rest_is_counted():
    assert "and 3 more" in text([domain(*(candidate(pid, pid) for pid in range(5)))], 4096, 100, 2, {})


@pytest.mark.parametrize(
    ("process", "others", "expected"),
    [
        (
            candidate(7, 500),
            [candidate(8, 350)],
            "at oom_score_adj -16 or less (not 0), w\\x1b (pid 8) would be chosen",
        ),
        (candidate(7, 500), [], "no other can be chosen"),
        (candidate(7, 90_000), [candidate(8, 1)], "only oom_score_adj -1000 would spare it"),
        (candidate(7, 500, -1000), [candidate(8, 1)], "never chosen: its oom_score_adj is -1000"),
        (candidate(7, 500, is_exempt=True), [], "never chosen: it is the init process of the host"),
    ],
)
def test_one_process_is_explained(process, others, expected):
    assert expected in explanation(process, [domain(process, *others)], 4096)


def test_a_process_that_is_not_the_first_states_who_is():
    first, second = candidate(7, 500), candidate(8, 400)
    shown = explanation(second, [domain(first, second)], 4096)

    assert "place 2 of 2 that can be chosen" in shown
    assert "403 points = 400 resident + 2 in swap + 1 page tables + 0 adj" in shown
    assert "chosen before it: w\\x1b (pid 7) with 503 points" in shown


def test_the_host_is_shown_as_json(capfd):
    assert cli.main(["scores", "--json", "--top", "0"]) == 0
    found = json.loads(capfd.readouterr().out)
    (host,) = [one for one in found["domains"] if "path" not in one]

    assert os.getpid() in {one["pid"] for one in host["processes"]}
    for one in host["processes"]:
        if "points" in one:
            assert one["points"] == one["rss"] + one["swap"] + one["page_tables"] + one["adj"]


def test_one_process_is_shown_as_json(capfd):
    assert cli.main(["scores", "--json", "--pss", "--pid", str(os.getpid())]) == 0
    found = json.loads(capfd.readouterr().out)["domains"]

    assert all([process["pid"] for process in one["processes"]] == [os.getpid()] for one in found)
    assert found[0]["processes"][0]["pss"] > 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--pid", "999999999"], 1, "there is no process 999999999 that has memory"),
        (["--pid", "-4"], 2, "--pid"),
        (["--pid", "x"], 2, "'x' is not a whole number"),
        (["--top", "½"], 2, "is not a whole number"),
        (["--cgroup", "/no\x1bwhere"], 1, "no memory cgroup with a limit and processes is at or above /no\\x1bwhere"),
    ],
)
def test_what_does_not_exist_is_one_message(capfd, arguments, code, said):
    assert cli.main(["scores", *arguments]) == code
    err = capfd.readouterr().err
    assert said in err
    assert err.startswith("oomtrace: ")
    assert err.count("\n") == 1


def test_watching_ends_when_the_reader_has_had_enough():
    command = [sys.executable, "-m", "ooMtrace", "scores", "--watch", "--top", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
        assert watching.stdout
        assert watching.stdout.readline().startswith(b"host: ")
        watching.stdout.close()
        assert watching.wait(60) == 0
