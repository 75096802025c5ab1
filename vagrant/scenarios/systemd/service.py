# SPDX-License-Identifier: Apache-2.0
"""Services exceed their MemoryMax=: a transient one, one of a template, and one with each OOMPolicy=."""

import signal
import subprocess
from pathlib import Path

from _scenario import scenario
from _sigkills import sigkills
from _tolerances import at
from _units import (
    GROW,
    GROW_IN_SHELL,
    INPUT,
    LIMIT,
    MEMORY,
    check_systemd,
    ended,
    events,
    killed_below,
    show,
    start,
    stop,
    written,
)

FOLDER = Path("/run/systemd/system")
TEMPLATE = f"""\
[Service]
ExecStart={" ".join(GROW)}
StandardInput=file:{INPUT}
{LIMIT[0]}
{LIMIT[1]}
"""
PLAIN, QUEUE = "oomtrace-plain.service", "oomtrace-queue@mails.service"
STOP, GROUP, CONTINUE = (f"oomtrace-{policy}.service" for policy in ("stop", "kill", "continue"))
DELEGATED = "oomtrace-delegated.service"
UNITS = (PLAIN, QUEUE, STOP, GROUP, CONTINUE, DELEGATED)
CHILD = f"{GROW_IN_SHELL} & wait; exec sleep 600"
MEMBERS = f"sleep 600 & sleep 600 & {GROW_IN_SHELL}; exec sleep 600"
BELOW = (
    f"mkdir $0/workers; echo 0 >$0/workers/cgroup.procs; echo +memory >$0/cgroup.subtree_control; exec {' '.join(GROW)}"
)

with scenario() as run, written(FOLDER / "oomtrace-queue@.service", TEMPLATE):
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    try:
        start(PLAIN, GROW, *LIMIT)
        plain = ended(PLAIN)
        subprocess.run(["systemctl", "start", QUEUE], check=True)
        queue = ended(QUEUE)
        start(STOP, ("/bin/sh", "-c", CHILD), *LIMIT, "OOMPolicy=stop")
        stopped = ended(STOP)
        # KillMode=none: else systemd may kill those whom the kernel has not reached yet, once the first process is dead
        start(GROUP, ("/bin/sh", "-c", MEMBERS), *LIMIT, "OOMPolicy=kill", "KillMode=none")
        group = ended(GROUP)
        start(CONTINUE, ("/bin/sh", "-c", CHILD), *LIMIT, "OOMPolicy=continue")
        (survivor_child,) = killed_below(run, f"/system.slice/{CONTINUE}")
        survivor = show(CONTINUE)
        counted = events(survivor["ControlGroup"])
        folder = f"/sys/fs/cgroup/system.slice/{DELEGATED}"
        start(DELEGATED, ("/bin/sh", "-c", BELOW, folder), *LIMIT, "Delegate=yes")
        delegated = ended(DELEGATED)
        (child,) = killed_below(run, f"/system.slice/{STOP}")
        members = killed_below(run, f"/system.slice/{GROUP}", 4)
        pids = [int(each["ExecMainPID"]) for each in (plain, queue, delegated)]
        lines = run.kills([*pids, child, survivor_child, *members])
    finally:
        stop(*UNITS)

    for tracer in run.tracers.values():
        # neither the kernel's OOM killer nor systemd is a memory killer in user space
        run.equal(f"level {tracer.level}: no SIGKILL from user space", sigkills(tracer), [])
    # what systemd itself says of them
    for each in (plain, queue, stopped, group):
        run.equal(f"{each['Id']}: result", (each["ActiveState"], each["Result"]), ("failed", "oom-kill"))
    # Delegate= implies OOMPolicy=continue
    run.equal("delegated: result", (delegated["OOMPolicy"], delegated["Result"]), ("continue", "signal"))
    for each in (plain, queue, delegated):
        run.equal(f"{each['Id']}: status", int(each["ExecMainStatus"]), signal.SIGKILL)
    run.equal("the first process of the one with OOMPolicy=stop", int(stopped["ExecMainStatus"]), signal.SIGTERM)
    run.equal("the one with OOMPolicy=continue", survivor["ActiveState"], "active")
    run.equal("kills by its memory.events", counted["oom_kill"], 1)
    run.true("its first process lives on", int(survivor["ExecMainPID"]) != survivor_child)
    run.true("group: its first process is a victim", int(group["ExecMainPID"]) in members)

    units = [PLAIN, QUEUE, DELEGATED, STOP, CONTINUE, *[GROUP] * 4]
    for unit, line in zip(units, lines, strict=False):
        below = "system-oomtrace\\x2dqueue.slice" if unit == QUEUE else "system.slice"
        check_systemd(run, line, {"unit": unit, "slice": below, "manager": "system"}, "unit")
        path = f"/system.slice/{below}/{unit}" if unit == QUEUE else f"/system.slice/{unit}"
        run.equal("whose limit", at(line, "oom.memcg.path"), path)
        inside = f"{path}/workers" if unit == DELEGATED else path
        run.equal("the victim's cgroup", at(line, "cgroup.path"), inside)
        run.equal("limit", at(line, "oom.memcg.limit"), MEMORY)
        run.true("the message names the unit", f" in {unit} was killed" in line["message"])
        run.true("and its limit", "unit limit of 32.0 MiB" in line["message"])
        run.equal("no container", at(line, "container"), None)
    grouped = lines[-4:]
    run.equal("verdicts", sorted(at(line, "oom.verdict") for line in grouped), ["group_member"] * 3 + ["killed"])
    run.equal("one incident", len({at(line, "oom.incident") for line in grouped}), 1)
    run.equal("size", {at(line, "oom.group.size") for line in grouped}, {4})
    run.equal("group", {at(line, "oom.group.path") for line in grouped}, {f"/system.slice/{GROUP}"})
    run.equal("incidents", len({at(line, "oom.incident") for line in lines}), len(UNITS))
