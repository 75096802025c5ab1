# SPDX-License-Identifier: Apache-2.0
"""earlyoom kills the service with the highest score as memory runs short; the kernel's OOM killer has no part in it."""

import re
import subprocess
from pathlib import Path

import _sigkills
from _scenario import VICTIM, scenario
from _units import ended, start, stop, written
from support.tracer import victim_of

UNIT, DAEMON = "oomtrace-holder.service", "earlyoom.service"
HELD_MB, ENOUGH_MB = 240, 120


def available_kb() -> int:
    """Return MemAvailable of /proc/meminfo in KiB."""
    (found,) = re.findall(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found)


with scenario() as run:
    least = available_kb() - (ENOUGH_MB << 10)
    with written(Path("/etc/default/earlyoom"), f'EARLYOOM_ARGS="-r 0 -M {least},{least}"\n'):
        subprocess.run(["systemctl", "restart", DAEMON], check=True)
        killer = _sigkills.running(DAEMON)
        try:
            start(UNIT, (str(VICTIM), "hold", str(HELD_MB)), "OOMScoreAdjust=1000")
            killed = ended(UNIT)
        finally:
            stop(UNIT, DAEMON)
    run.equal("what systemd says", (killed["ActiveState"], killed["Result"]), ("failed", "signal"))
    run.kills([])
    for lines in _sigkills.check(run, killer, UNIT, "system.slice").values():
        run.equal("victim", list(map(victim_of, lines)), [int(killed["ExecMainPID"])])
