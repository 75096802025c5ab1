# SPDX-License-Identifier: Apache-2.0
"""systemd-oomd kills a service because of its slice's memory pressure; the kernel's OOM killer has no part in it."""

import os
import subprocess
from pathlib import Path

import _sigkills
from _scenario import scenario
from _tolerances import at
from _units import GROW_IN_SHELL, ended, start, stop, written
from support.tracer import victim_of

SLICE, UNIT, DAEMON = "oomtrace-pressure.slice", "oomtrace-pressed.service", "systemd-oomd.service"
CONFIG = "[OOM]\nDefaultMemoryPressureDurationSec=1s\n"
PRESSURE = "[Slice]\nManagedOOMMemoryPressure=kill\nManagedOOMMemoryPressureLimit=1%\n"
FILE, SIZE = Path("/var/tmp/oomtrace-pressure"), 48 << 20  # not on a tmpfs
# far more than it may have without being slowed down; systemd-oomd acts only while pages are reclaimed, as a file's are
LOAD = f"{GROW_IN_SHELL} & while cat {FILE} >/dev/null; do :; done"

with (
    scenario() as run,
    written(Path("/run/systemd/oomd.conf.d/oomtrace.conf"), CONFIG),
    written(Path("/run/systemd/system", SLICE), PRESSURE),
):
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(["systemctl", "restart", DAEMON], check=True)
    killer = _sigkills.running(DAEMON)
    FILE.write_bytes(bytes(SIZE))
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("1")  # so that the service is charged for reading it
    try:
        # KillMode=none: else systemd may kill the others itself, once the first process is dead
        start(UNIT, ("/bin/sh", "-c", LOAD), f"Slice={SLICE}", "MemoryHigh=24M", "MemorySwapMax=0", "KillMode=none")
        killed = ended(UNIT)
        subprocess.run(["oomctl", "--no-pager"], check=True)
    finally:
        stop(UNIT, SLICE, DAEMON)
        FILE.unlink(missing_ok=True)
    # it calls that `oom-kill`, although the kernel has killed nothing
    run.equal("what systemd says", (killed["ActiveState"], killed["Result"]), ("failed", "oom-kill"))
    run.kills([])
    found = _sigkills.check(run, killer, UNIT, SLICE, least=2)
    for lines in found.values():
        pids = list(map(victim_of, lines))
        run.true("the service's first process is a victim", int(killed["ExecMainPID"]) in pids)
        # this version sends a signal to each process
        run.equal("through cgroup.kill", [at(line, "sigkill.via_cgroup_kill") for line in lines], [None] * len(lines))
