# SPDX-License-Identifier: Apache-2.0
"""What is read of /proc: the memory of whichever thread has it, and nothing of what has exited."""

from __future__ import annotations

from pathlib import Path

import pytest

from ooMtrace.kernel.cgroup_mounts import Hierarchy
from ooMtrace.kernel.snapshot import HostSnapshot
from ooMtrace.scores.badness import Usage
from ooMtrace.scores.domains import cgroup_domains, host_domain
from ooMtrace.scores.processes import Candidate, read_processes, read_pss

PAGE = 4096
MEMORY = "RssAnon:\t 400 kB\nRssFile:\t 80 kB\nRssShmem:\t 8 kB\nVmPTE:\t 40 kB\nVmSwap:\t 12 kB\n"
HOST = HostSnapshot(realtime=0, monotonic=0, boottime=0, page_size=PAGE, ram=10_000, swap=0, swappiness=60, nodes=1)


def process(proc: Path, pid: int, *, comm: str = "worker", memory: str = MEMORY, cgroup: str = "0::/a\n") -> Path:
    folder = proc / str(pid)
    (folder / "task" / str(pid)).mkdir(parents=True)
    files = {
        "status": f"Name:\t{comm}\nUid:\t33\t33\t33\t33\nThreads:\t2\n{memory}",
        "oom_score_adj": "7\n",
        "oom_score": "680\n",
        "cgroup": cgroup,
        "cmdline": "worker\0-v\0",
        "stat": f"{pid} (a ) b) S " + " ".join(str(n) for n in range(4, 40)),
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "task" / str(pid) / "status").write_text(files["status"])
    return folder


def test_a_process_is_read(tmp_path):
    process(tmp_path, 12)
    (found,) = read_processes(PAGE, 2, tmp_path)

    assert found == Candidate(
        pid=12,
        comm="worker",
        title="worker -v",
        user=33,
        cgroup="/a",
        usage=Usage(rss=122, swap=3, page_tables=10, adj=7),
        oom_score=680,
        started=22,
    )


def test_the_init_process_is_exempt_and_kernel_threads_are_left_out(tmp_path):
    process(tmp_path, 1)
    process(tmp_path, 2, memory="")
    (tmp_path / "meminfo").write_text("")
    (found,) = read_processes(PAGE, 2, tmp_path)

    assert (found.pid, found.usage.is_exempt, found.usage.can_be_chosen) == (1, True, False)


def test_the_first_process_of_a_container_is_not_exempt(tmp_path):
    process(tmp_path, 1)

    assert [one.usage.is_exempt for one in read_processes(PAGE, 2, tmp_path, host_pids=False)] == [False]


def test_memory_of_a_process_whose_first_thread_has_exited_is_that_of_another(tmp_path):
    folder = process(tmp_path, 30, memory="")
    (folder / "task/31").mkdir()
    (folder / "task/31/status").write_text(f"Name:\tother\nThreads:\t2\n{MEMORY}")

    assert [one.usage.rss for one in read_processes(PAGE, 2, tmp_path)] == [122]


@pytest.mark.parametrize("missing", ["status", "oom_score_adj", "cgroup", "stat"])
def test_a_process_that_exits_meanwhile_is_left_out(tmp_path, missing):
    (process(tmp_path, 12) / missing).unlink()

    assert read_processes(PAGE, 2, tmp_path) == []


@pytest.mark.parametrize(
    ("version", "text", "expected"),
    [
        (2, "0::/a b\n", "/a b"),
        (2, "0::/gone (deleted)\n", "/gone"),
        (1, "9:cpu:/x\n4:memory:/v1\n0::/v2\n", "/v1"),
        (1, "4:cpuset,memory:/v1\n", "/v1"),
        (1, "0::/v2\n", None),
        (None, "0::/v2\n", None),
    ],
)
def test_the_memory_cgroup_is_that_of_the_hierarchy_with_the_controller(tmp_path, version, text, expected):
    process(tmp_path, 12, cgroup=text)

    assert [one.cgroup for one in read_processes(PAGE, version, tmp_path)] == [expected]


def test_pss_is_absent_where_it_may_not_be_read(tmp_path):
    folder = process(tmp_path, 12)
    (folder / "smaps_rollup").write_text("Rss:  99 kB\nPss:   12 kB\nPss_Anon: 4 kB\n")

    assert (read_pss(12, tmp_path), read_pss(13, tmp_path)) == (12 * 1024, None)


def candidate(pid: int, memory: int, adj: int = 0, cgroup: str = "/a/b") -> Candidate:
    return Candidate(
        pid=pid,
        comm="x",
        title="",
        user=0,
        cgroup=cgroup,
        usage=Usage(rss=memory, swap=0, page_tables=0, adj=adj),
        oom_score=None,
        started=pid,
    )


def cgroup(root: Path, path: str, **files: str) -> None:
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_the_processes_of_a_limited_cgroup_and_those_below_it_are_ranked_by_points(tmp_path):
    cgroup(tmp_path, "a", memory__max=str(4096 * PAGE), memory__current="4096", memory__swap__max="max")
    cgroup(tmp_path, "a/b", memory__max="max")
    members = [candidate(1, 50), candidate(2, 10, 20), candidate(3, 90, -1000), candidate(4, 50, cgroup="/a")]
    (found,) = cgroup_domains(Hierarchy(tmp_path, 2), HOST, [*members, candidate(5, 9999, cgroup="/c")])

    assert (found.path, found.limit, found.usage, found.total_pages) == ("/a", 4096 * PAGE, 4096, 4096)
    assert [(one.pid, found.points(one)) for one in found.processes] == [(2, 90), (4, 50), (1, 50), (3, None)]


@pytest.mark.parametrize(
    ("version", "files", "pages"),
    [
        (2, {"memory__max": "409600", "memory__swap__max": "max"}, 100 + 500),
        (2, {"memory__max": "409600", "memory__swap__max": "40960"}, 100 + 10),
        (2, {"memory__max": "409600", "memory__swap__max": "0"}, 100),
        (2, {"memory__max": "0"}, 500),
        (1, {"memory__limit_in_bytes": "409600", "memory__memsw__limit_in_bytes": "450560"}, 100 + 10),
        (1, {"memory__limit_in_bytes": "409600", "memory__swappiness": "0"}, 100),
        (1, {"memory__limit_in_bytes": "409600", "memory__swappiness": "60"}, 100 + 500),
    ],
)
def test_a_domain_is_as_large_as_the_limit_and_the_swap_that_may_be_used(tmp_path, version, files, pages):
    cgroup(tmp_path, "a", **files)
    host = HostSnapshot(
        realtime=0, monotonic=0, boottime=0, page_size=PAGE, ram=10_000, swap=500, swappiness=60, nodes=1
    )
    (found,) = cgroup_domains(Hierarchy(tmp_path, version), host, [candidate(1, 1, cgroup="/a")])

    assert found.total_pages == pages


@pytest.mark.parametrize("path", ["/../etc", "/a/../b", "", "/", None, "x"])
def test_a_path_that_leads_out_of_the_hierarchy_is_no_domain(tmp_path, path):
    cgroup(tmp_path / "mount", ".", memory__max="4096")
    cgroup(tmp_path, "etc", memory__max="4096")

    assert cgroup_domains(Hierarchy(tmp_path / "mount", 2), HOST, [candidate(1, 1, cgroup=path)]) == []


def test_the_host_has_all_processes_and_its_pressure(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 40000 kB\nMemAvailable: 10000 kB\n")
    cgroup(tmp_path, "pressure", memory="some avg10=1.25 avg60=0.00 total=1\nfull avg10=0.50 avg60=0 total=1")
    found = host_domain(HOST, [candidate(1, 5), candidate(2, 50)], tmp_path)

    assert (found.path, found.limit, found.usage) == (None, 40000 * 1024, 30000 * 1024)
    assert found.pressure == {"some": 1.25, "full": 0.5}
    assert [one.pid for one in found.processes] == [2, 1]
