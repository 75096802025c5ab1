# SPDX-License-Identifier: Apache-2.0
"""A memory cgroup whose only process has oom_score_adj -1000: nothing is killed, and the log says so."""

import subprocess
import sys

from _kmsg import no_kills
from _scenario import scenario
from _tolerances import at

CODE = """
import os
input()
try:
    os.posix_fallocate(os.memfd_create("full"), 0, 64 << 20)
except OSError as error:
    print(error.strerror)
"""
"""The kernel would retry a page fault for ever; fallocate(2) fails, and gives back what it has got."""

with scenario() as run:
    limited = run.cgroup(16)
    # It has the scenario's own oom_score_adj.
    with subprocess.Popen(
        [sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        limited.join(process.pid)
        said, _ = process.communicate("\n")
    run.equal("the allocation failed", said.strip(), "Cannot allocate memory")
    run.kills([])
    logged = [line for line in no_kills() if at(line, "oom.trigger.tid") == process.pid]
    run.true("an OOM without a kill", logged)
    for line in logged:
        run.equal("reason", at(line, "oom.reason"), "no_killable_process")
        run.equal("scope", at(line, "oom.scope"), "memcg")
        run.equal("cgroup", at(line, "oom.memcg.path"), limited.path)
        run.equal("limit", at(line, "oom.memcg.limit"), 16 << 20)
        run.equal("candidates", [each["pid"] for each in at(line, "oom.candidates")], [process.pid])
        run.true("statistics", at(line, "oom.memcg.stat")["shmem"] > 8 << 20)
    if "log" in run.tracers:
        run.equal("level log", run.tracers["log"].no_kills(len(logged)), [line["id"] for line in logged])
    print(f"{len(logged)} OOMs without a kill", flush=True)
