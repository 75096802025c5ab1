# SPDX-License-Identifier: Apache-2.0
"""The size of what may run out of memory, and what is in the way of reading it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ooMtrace.kernel.cgroup_mounts import Hierarchy
from ooMtrace.kernel.snapshot import HostSnapshot
from ooMtrace.scores.badness import Usage
from ooMtrace.scores.domains import cgroup_domains, host_domain
from ooMtrace.scores.processes import Candidate

PAGE = 4096
HOST = HostSnapshot(realtime=0, monotonic=0, boottime=0, page_size=PAGE, ram=10_000, swap=500, swappiness=60, nodes=1)


def candidate(cgroup: str, pid: int = 1) -> Candidate:
    usage = Usage(rss=1, swap=0, page_tables=0, adj=0)
    return Candidate(pid=pid, comm="", title="", user=0, cgroup=cgroup, usage=usage, oom_score=None, started=pid)


def cgroup(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def domains(root: Path, *processes: Candidate, version: int = 2, host: HostSnapshot = HOST):
    return cgroup_domains(Hierarchy(root, version), host, processes or [candidate("/a")])


def test_the_host_is_as_large_as_its_ram_and_swap(tmp_path):
    found = host_domain(HOST, [], tmp_path)

    assert (found.limit, found.total_pages, found.usage, found.pressure) == (10_000 * PAGE, 10_500, None, {})


@pytest.mark.parametrize(
    ("version", "files", "host", "pages"),
    [
        (2, {"memory__max": "0", "memory__swap__max": "0"}, HOST, 1),
        (2, {"memory__max": "40960"}, replace(HOST, swappiness=0), 10),
        (2, {"memory__max": "40960"}, replace(HOST, swap=None), 10),
        (2, {"memory__max": "40960", "memory__swap__max": str(501 * PAGE)}, HOST, 10 + 500),
        (1, {"memory__limit_in_bytes": "40960", "memory__memsw__limit_in_bytes": "40960"}, HOST, 10),
        (1, {"memory__limit_in_bytes": "40960", "memory__swappiness": "1"}, replace(HOST, swappiness=0), 10 + 500),
    ],
)
def test_a_limit_is_as_large_as_the_kernel_takes_it(tmp_path, version, files, host, pages):
    cgroup(tmp_path / "a", **files)
    (found,) = domains(tmp_path, version=version, host=host)

    assert found.total_pages == pages


@pytest.mark.parametrize("limit", ["max", "9223372036854771712", "", "x", "-1", "1.5", "1" * 21])
def test_what_is_no_limit_is_no_domain(tmp_path, limit):
    cgroup(tmp_path / "a", memory__max=limit, memory__limit_in_bytes=limit)

    assert (domains(tmp_path), domains(tmp_path, version=1)) == ([], [])


def test_usage_and_pressure_of_version_1_and_2_are_read(tmp_path):
    pressure = "some avg10=12.34 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0"
    cgroup(tmp_path / "a", memory__max="8192", memory__current="4096", memory__pressure=pressure)
    cgroup(tmp_path / "a", memory__limit_in_bytes="8192", memory__usage_in_bytes="5000")

    assert [(one.usage, one.pressure) for one in domains(tmp_path)] == [(4096, {"some": 12.34, "full": 0.0})]
    assert [one.usage for one in domains(tmp_path, version=1)] == [5000]


def test_each_limit_above_a_process_is_a_domain_of_it(tmp_path):
    for path in ("a", "a/b/c"):
        cgroup(tmp_path / path, memory__max="8192")
    found = domains(tmp_path, candidate("/a/b/c", 1), candidate("/a/b", 2), candidate("/ab", 3))

    assert [(one.path, [process.pid for process in one.processes]) for one in found] == [
        ("/a", [2, 1]),
        ("/a/b/c", [1]),
    ]


def test_a_cgroup_that_cannot_be_read_is_left_out(tmp_path):
    (tmp_path / "a/memory.max").mkdir(parents=True)  # without the controller, a child may have this name

    assert domains(tmp_path, candidate("/a"), candidate("/a\0b"), candidate("/gone")) == []
