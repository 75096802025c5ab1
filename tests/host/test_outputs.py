# SPDX-License-Identifier: Apache-2.0
"""Real kills, several outputs: what can be delivered is, also when the tracer is stopped in the middle of a storm."""

from __future__ import annotations

import re
import time

from support.receivers import Receiver, wait_for
from support.storm import Storm
from support.tracer import RunningTracer, victim_of

END_S = 10
"""How long all outputs together have at the end: twice 5 seconds."""


def test_stopped_in_a_storm_it_delivers_to_all_outputs_that_take_it(tmp_path, cgroup, program):
    healthy, slow, deaf = Receiver(tmp_path / "a"), Receiver(pause=0.005), Receiver(tmp_path / "b", reads=False)
    urls = [word for receiver in (healthy, slow, deaf) for word in ("--output", receiver.url)]
    with RunningTracer(tmp_path, *urls, repairs=True) as tracer:
        tracer.exit_code = 1
        with Storm(program, cgroup(), 2000) as running:
            killed = running.take(100)
            begin = time.monotonic()
            tracer.stop()
            took = time.monotonic() - begin

    lines = tracer.lines()
    wait_for(lambda: slow.count == len(lines))
    print(f"\nend: {took:.1f} s, {len(lines)} lines")
    assert took < 5 * END_S
    assert {victim_of(line) for line in lines} >= set(killed)
    assert healthy.lines() == slow.lines() == lines
    short = re.findall(r"^oomtrace: (\S+): (\d+) lines could not be written$", tracer.messages(), re.MULTILINE)
    assert short == [(deaf.url, str(len(lines)))]
    assert tracer.messages().endswith("oomtrace: 1 of 4 outputs lack lines; check the receivers\n")
