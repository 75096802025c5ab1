# SPDX-License-Identifier: Apache-2.0
"""The clock is set an hour ahead and back again: each line has the time that the clock showed at the kill."""

import signal
import time
from datetime import datetime, timezone

from _checks import CLOCK_ERROR_S
from _scenario import scenario

HOUR = 3600


def step(seconds: int) -> None:
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)


with scenario() as run:
    run.clock_steps = True
    limited, pids, when = run.cgroup(24), [], []
    stepped = 0
    try:
        for by in (0, HOUR, -HOUR):
            step(by)
            stepped += by
            victim, began = run.victim("hog", limited), time.time()
            run.equal("status", victim.go().end(), -signal.SIGKILL)
            when.append((began, time.time()))
            pids.append(victim.pid)
            for tracer in run.tracers.values():  # a line has the time by the clock as it is when the line is written
                tracer.wait(lambda kills: len(kills) == len(pids))
    finally:
        step(-stepped)
    lines = run.kills(pids)
    for line, (began, ended) in zip(lines, when, strict=True):
        stated = datetime.fromisoformat(line["time"]).astimezone(timezone.utc).timestamp()
        run.true(f"{line['time']} is what the clock showed", began - CLOCK_ERROR_S <= stated <= ended + CLOCK_ERROR_S)
    numbers = [line["seq"] for line in lines]
    run.equal("in the order of the kills", numbers, list(range(numbers[0], numbers[0] + len(pids))))
    # the kernel log has only the time since boot: it does not show that the clock was an hour ahead
    run.clocks_apart_s += HOUR
