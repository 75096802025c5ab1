# SPDX-License-Identifier: Apache-2.0
"""Somebody sets the clock an hour ahead and back again: each line has the time that the clock showed at the kill."""

import signal
import time
from datetime import datetime, timezone

from _checks import CLOCK_ERROR_S
from _stage import stage

HOUR = 3600


def step(seconds: int) -> None:
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)


with stage() as on:
    limited, pids, when = on.cgroup(24), [], []
    stepped = 0
    try:
        for by in (0, HOUR, -HOUR):
            step(by)
            stepped += by
            one, began = on.victim("hog", limited), time.time()
            on.equal("status", one.go().end(), -signal.SIGKILL)
            when.append((began, time.time()))
            pids.append(one.pid)
            for tracer in on.tracers.values():  # a line has the time of the clock with which it is written
                tracer.wait(lambda kills: len(kills) == len(pids))
    finally:
        step(-stepped)
    lines = on.kills(pids)
    for line, (began, ended) in zip(lines, when, strict=True):
        told = datetime.fromisoformat(line["time"]).astimezone(timezone.utc).timestamp()
        on.true(f"{line['time']} is the clock's", began - CLOCK_ERROR_S <= told <= ended + CLOCK_ERROR_S)
    numbers = [line["seq"] for line in lines]
    on.equal("in the order of the kills", numbers, list(range(numbers[0], numbers[0] + len(pids))))
    # the kernel's log has no clock but that of the boot: what it was an hour ahead is nowhere
    on.clocks_apart_s += HOUR
