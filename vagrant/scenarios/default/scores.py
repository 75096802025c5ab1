# SPDX-License-Identifier: Apache-2.0
"""`oomtrace scores` just before a kill in a cgroup with swap: the first in its ranking dies, with the points shown."""

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from _log import PAGE
from _scenario import Scenario, scenario
from _tolerances import COUNTER_BATCH, SLOWDOWN, at
from support.tracer import COMMAND
from support.victims import Victim

LIMIT, SWAP, INNER_LIMIT = 96 << 20, 64 << 20, 512 << 20
PRESSED, ZRAM_SIZE = 32 << 20, 128 << 20
SIZES = {"large": (28, 0), "preferred": (20, 150), "small": (12, 0)}
"""Megabytes and oom_score_adj of each process: the smaller one is chosen, for its adjustment."""

BLOCK = 256 << 10
# In a tmpfs: nobody's resident memory grows.
FILL = f"""
import sys
with open("/dev/shm/oomtrace-scores", "wb", buffering=0) as file:
    for _ in sys.stdin:
        file.write(bytes({BLOCK}))
        print(flush=True)
"""
ZRAM = Path("/sys/block/zram0")


def scores(*options: str) -> list[dict[str, Any]]:
    done = subprocess.run([COMMAND, "scores", "--json", "--top", "0", *options], capture_output=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)["domains"]
    return found


def memory_kb(pid: int, *names: str) -> int:
    rows = dict(row.split(":", 1) for row in Path(f"/proc/{pid}/status").read_text().splitlines())
    return sum(int(rows[name].split()[0]) for name in names)


def truncated(dividend: int, divisor: int) -> int:
    """Divide as C does: towards zero."""
    quotient = abs(dividend) // divisor
    return quotient if dividend >= 0 else -quotient


def check_oom_score(run: Scenario, process: dict[str, Any], ram_and_swap: int) -> None:
    """Compare /proc/PID/oom_score with the points of the same moment, by the formula of fs/proc/base.c."""
    memory = process["rss"] + process["swap"] + process["page_tables"]
    points = memory + process["oom_score_adj"] * (ram_and_swap // 1000)
    expected = truncated((1000 + truncated(points * 1000, ram_and_swap)) * 2, 3)
    run.equal(f"oom_score of {process['comm']}", process["oom_score"], expected)


def fill_until_killed(run: Scenario, limited: Any, victims: dict[str, Victim]) -> None:
    filler = run.python(f"exec({FILL!r})", limited)
    assert filler.stdin
    assert filler.stdout
    deadline = time.monotonic() + 60 * SLOWDOWN
    while time.monotonic() < deadline and not [one for one in victims.values() if one.process.poll() is not None]:
        filler.stdin.write(b"\n")
        filler.stdin.flush()
        filler.stdout.readline()
    filler.stdin.close()
    run.equal("status of the filler", filler.wait(), 0)


def check_adj_change(run: Scenario, pid: int) -> None:
    """Change an oom_score_adj and back while `--adj-changes` runs."""
    command = [str(COMMAND), "scores", "--adj-changes", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stdout
        assert tracer.stderr
        run.true("the start is announced", "tracing changes" in tracer.stderr.readline())
        file = Path(f"/proc/{pid}/oom_score_adj")
        before = int(file.read_text())
        for value in (before + 1, before):
            file.write_text(str(value))
        lines = [json.loads(tracer.stdout.readline()) for _ in range(2)]
        tracer.send_signal(signal.SIGINT)
        run.equal("messages", tracer.stderr.read(), "")
        run.equal("status of the tracer", tracer.wait(), 0)
    run.equal("values", [(x["before"], x["after"]) for x in lines], [(before, before + 1), (before + 1, before)])
    run.equal("target", {x["target"]["pid"] for x in lines}, {pid})


subprocess.run(["modprobe", "zram"], check=True)
(ZRAM / "reset").write_text("1")
(ZRAM / "disksize").write_text(str(ZRAM_SIZE))
subprocess.run("mkswap -q /dev/zram0 && swapon /dev/zram0", shell=True, check=True)
mounted = Path("/dev/shm").is_mount()
if not mounted:
    Path("/dev/shm").mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/dev/shm"], check=True)
with scenario() as run:
    outer = run.cgroup(LIMIT >> 20)
    (outer.folder / "cgroup.subtree_control").write_text("+memory")
    inner = run.cgroup(INNER_LIMIT >> 20, f"{outer.path[1:]}/inner")
    beside = run.cgroup(name=f"{outer.path[1:]}/beside")
    (outer.folder / "memory.swap.max").write_text(str(SWAP))
    (inner.folder / "memory.swap.max").write_text("max")
    (beside.folder / "memory.swap.max").write_text("max")
    victims = {
        name: run.victim("hold", inner if name == "small" else beside, size, adj=adj)
        for name, (size, adj) in SIZES.items()
    }
    for holder in victims.values():
        run.equal("holder", holder.go().said(), "holding")
    (outer.folder / "memory.high").write_text(str(PRESSED))  # what is above it is swapped out at once
    (outer.folder / "memory.high").write_text("max")
    check_adj_change(run, victims["small"].pid)

    domains = {domain.get("path"): domain for domain in scores()}
    host, below, ranked = domains[None], domains[inner.path], scores("--cgroup", outer.path)[0]
    processes = {process["pid"]: process for process in ranked["processes"]}
    run.equal("size of the domain", ranked["total_pages"] * PAGE, LIMIT + SWAP)
    swap_of_host = host["total_pages"] * PAGE - host["limit"]
    run.true("swap of the host", SWAP < swap_of_host <= ZRAM_SIZE)
    run.equal("size of the domain below", below["total_pages"] * PAGE, INNER_LIMIT + swap_of_host)
    run.true("swap is counted", sum(process["swap"] for process in processes.values()) * PAGE > 8 << 20)
    run.equal("members", sorted(processes), sorted(victim.pid for victim in victims.values()))
    run.equal("members below", [process["pid"] for process in below["processes"]], [victims["small"].pid])
    for process in host["processes"]:
        if process["pid"] in processes:
            check_oom_score(run, process, host["total_pages"])

    first = ranked["processes"][0]
    run.equal("first in the ranking", first["pid"], victims["preferred"].pid)
    files = {pid: memory_kb(pid, "RssFile") * 1024 // PAGE for pid in processes}
    fill_until_killed(run, beside, victims)
    (line,) = run.kills([first["pid"]])
    run.equal("status", victims["preferred"].end(), -signal.SIGKILL)
    run.equal("limit", (at(line, "oom.memcg.path"), at(line, "oom.limit_bytes")), (outer.path, LIMIT + SWAP))
    run.equal("adjustment in points", at(line, "oom.points.adj"), first["adj"])
    (report,) = run.reports()
    for pid, process in processes.items():
        # Pages of files may be reclaimed meanwhile. A page that is swapped out is subtracted from one counter and added
        # to another, and each may lag behind by a batch.
        apart = process["points"] - report.tasks[pid].points(ranked["total_pages"])
        as_logged = -2 * COUNTER_BATCH < apart < files[pid] + 2 * COUNTER_BATCH
        run.true(f"points of {pid} as in the log, {apart} pages apart", as_logged)
    weighed = sorted(processes, key=lambda pid: -report.tasks[pid].points(ranked["total_pages"]))
    run.equal("ranking", weighed, [process["pid"] for process in ranked["processes"]])
Path("/dev/shm/oomtrace-scores").unlink()
subprocess.run(["swapoff", "/dev/zram0"], check=True)
(ZRAM / "reset").write_text("1")
