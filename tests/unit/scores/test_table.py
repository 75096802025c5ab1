# SPDX-License-Identifier: Apache-2.0
"""Scores as tables, as the explanation of one process, and as JSON: all that is known, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ooMtrace.explain.layout import width
from ooMtrace.scores.badness import Usage
from ooMtrace.scores.domains import Domain
from ooMtrace.scores.processes import Candidate
from ooMtrace.scores.table import HEADER, explanation, name, plain, text

PAGE = 4096
MIB = 1 << 20


def candidate(pid: int, rss: int, adj: int = 0, title: str = "worker -v", *, is_exempt: bool = False) -> Candidate:
    usage = Usage(rss=rss, swap=2, page_tables=1, adj=adj, is_exempt=is_exempt)
    return Candidate(pid=pid, comm="w", title=title, user=33, cgroup="/a/b", usage=usage, oom_score=700, started=pid)


LIMIT = Domain(path="/a", limit=40 * MIB, usage=30 * MIB, total_pages=10_240, pressure={}, processes=())
HOST = replace(LIMIT, path=None, total_pages=10_240 + 256, pressure={"some": 1.5, "full": 0.25})


def with_processes(domain: Domain, *processes: Candidate) -> Domain:
    return replace(domain, processes=processes)


@pytest.mark.parametrize(
    ("domain", "title"),
    [
        (LIMIT, "/a: limit 40.0 MiB, no swap, 10.0 MiB free"),
        (HOST, "host: 40.0 MiB of RAM, 1.0 MiB of swap, 10.0 MiB free, waiting for memory: some 1.5 %, full 0.25 %"),
        (replace(LIMIT, usage=None, limit=40 * MIB + 1), "/a: limit 40.0 MiB, no swap"),
        (replace(LIMIT, usage=41 * MIB), "/a: limit 40.0 MiB, no swap, 0 bytes free"),
        (replace(LIMIT, total_pages=10_241), "/a: limit 40.0 MiB, 4 KiB of swap, 10.0 MiB free"),
        (replace(LIMIT, path="/\x1b"), "/\\x1b: limit 40.0 MiB, no swap, 10.0 MiB free"),
    ],
)
def test_a_table_has_the_size_of_its_domain_as_a_title(domain, title):
    assert text([domain], PAGE, 120, 0, {}).splitlines()[0] == title


def test_the_cells_of_a_row_are_below_their_headings():
    shown = text([with_processes(LIMIT, candidate(7, 512, -5), candidate(8, 256, -1000))], PAGE, 120, 0, {})
    _, header, first, exempt = shown.splitlines()

    assert header == f"{HEADER}  process"
    assert first.split() == ["1", "465", "2.0", "MiB", "12", "KiB", "-5", "700", "7", "worker", "-v"]
    assert exempt.split() == ["exempt", "1.0", "MiB", "12", "KiB", "-1000", "700", "8", "worker", "-v"]
    assert first.index("worker") == exempt.index("worker") == header.index("process") == len(HEADER) + 2


def test_what_is_not_known_of_a_process_has_an_empty_cell():
    found = with_processes(LIMIT, replace(candidate(7, 512), oom_score=None), candidate(8, 256))
    header, first, second = text([found], PAGE, 120, 0, {8: MIB}).splitlines()[1:]

    assert header.split()[-2:] == ["PSS", "process"]
    assert first.split() == ["1", "515", "2.0", "MiB", "12", "KiB", "0", "7", "worker", "-v"]
    assert second.split() == ["2", "259", "1.0", "MiB", "12", "KiB", "0", "700", "8", "1.0", "MiB", "worker", "-v"]
    assert first.index("worker") == second.index("worker")


def test_a_name_has_some_columns_however_narrow_the_terminal_is():
    shown = text([with_processes(LIMIT, candidate(7, 512, title="x" * 99))], PAGE, 40, 0, {}).splitlines()

    assert width(shown[0]) <= 40
    assert shown[2].endswith("  " + "x" * 17 + "...")


@pytest.mark.parametrize(
    ("top", "rows", "rest"), [(0, 3, ""), (3, 3, ""), (2, 2, "     and 1 more"), (1, 1, "     and 2 more")]
)
def test_the_first_are_shown_and_the_rest_is_counted(top, rows, rest):
    shown = text([with_processes(LIMIT, *(candidate(pid, 9) for pid in (1, 2, 3)))], PAGE, 120, top, {}).splitlines()

    assert shown[2 + rows :] == ([rest] if rest else [])


def test_tables_are_apart():
    assert text([LIMIT, HOST], PAGE, 120, 0, {}).split("\n\n")[1].startswith("host: ")


@pytest.mark.parametrize(
    ("title", "shown"), [("a  b\n c", "a b c"), ("", "[w]"), (" ", "[w]"), ("\x1b[2J", "\\x1b[2J")]
)
def test_a_process_is_named_by_its_title_or_its_name(title, shown):
    assert name(candidate(7, 1, title=title)) == shown


def test_one_process_is_explained_in_each_of_its_domains():
    one, other = candidate(7, 500, -20), candidate(8, 400)

    assert explanation(one, [with_processes(HOST, other, one), with_processes(LIMIT, other, one)], PAGE) == (
        "worker -v (pid 7) in /a/b\n"
        "on the host, 40.0 MiB of RAM, 1.0 MiB of swap, 10.0 MiB free,"
        " waiting for memory: some 1.5 %, full 0.25 %:\n"
        "  place 2 of 2 that can be chosen\n"
        "  303 points = 500 resident + 2 in swap + 1 page tables - 200 adj\n"
        "  chosen before it: w (pid 8) with 403 points\n"
        "in /a, limit 40.0 MiB, no swap, 10.0 MiB free:\n"
        "  place 2 of 2 that can be chosen\n"
        "  303 points = 500 resident + 2 in swap + 1 page tables - 200 adj\n"
        "  chosen before it: w (pid 8) with 403 points\n"
    )


@pytest.mark.parametrize(
    ("process", "others", "last"),
    [
        (candidate(7, 500), [candidate(8, 400)], "  at oom_score_adj -11 or less (not 0), w (pid 8) would be chosen"),
        (
            candidate(7, 500),
            [candidate(8, 9_999, -1000)],
            "  no other can be chosen: only -1000 would spare it, and then",
        ),
        (
            candidate(7, 500),
            [candidate(8, 1, is_exempt=True)],
            "  no other can be chosen: only -1000 would spare it, and",
        ),
        (candidate(7, 10_500), [candidate(8, 1)], "  only oom_score_adj -1000 would spare it"),
        (candidate(7, 500, -1000), [], "  never chosen: its oom_score_adj is -1000"),
        (candidate(7, 500, is_exempt=True), [], "  never chosen: it is the init process of the host"),
    ],
)
def test_what_would_spare_a_process_is_stated(process, others, last):
    assert explanation(process, [with_processes(LIMIT, process, *others)], PAGE).splitlines()[-1].startswith(last)


@pytest.mark.parametrize("cgroup", [None, "/"])
def test_the_root_is_not_stated_as_a_cgroup(cgroup):
    assert explanation(replace(candidate(7, 1), cgroup=cgroup), [], PAGE) == "worker -v (pid 7)\n"


def test_json_has_the_points_and_what_they_are_made_of():
    found = plain(with_processes(LIMIT, candidate(7, 512, -5), candidate(8, 256, -1000)), 0, {7: 99})

    assert {key: value for key, value in found.items() if key != "processes"} == {
        "path": "/a",
        "limit": 40 * MIB,
        "usage": 30 * MIB,
        "total_pages": 10_240,
        "pressure": {},
    }
    facts = {"comm": "w", "title": "worker -v", "user": 33, "cgroup": "/a/b", "swap": 2, "page_tables": 1}
    facts |= {"oom_score": 700}
    assert found["processes"] == [
        {**facts, "pid": 7, "points": 465, "rss": 512, "adj": -50, "oom_score_adj": -5, "pss": 99},
        {**facts, "pid": 8, "rss": 256, "oom_score_adj": -1000},
    ]


def test_json_has_no_key_for_what_is_not_known():
    bare = replace(candidate(7, 1, title=""), user=None, cgroup=None, oom_score=None)
    found = plain(with_processes(replace(HOST, usage=None), bare, candidate(8, 1)), 1, {})

    assert set(found) == {"limit", "total_pages", "pressure", "processes"}
    (process,) = found["processes"]
    assert {"title", "user", "cgroup", "oom_score", "pss"}.isdisjoint(process)
