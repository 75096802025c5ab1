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
    short = dict(re.findall(r"^oomtrace: (\S+): (\d+) lines could not be written$", tracer.messages(), re.MULTILINE))
    # on a busy machine the time may end before the slow one has read all
    wait_for(lambda: slow.count + int(short.get(slow.url, 0)) >= len(lines))
    print(f"\nend: {took:.1f} s, {len(lines)} lines, of which the slow output has {slow.count}")
    assert took < 5 * END_S
    assert {victim_of(line) for line in lines} >= set(killed)
    assert healthy.lines() == lines
    assert slow.lines() == lines[: slow.count]
    assert short.pop(deaf.url) == str(len(lines))
    assert short.keys() <= {slow.url}
    assert tracer.messages().endswith(f"oomtrace: {1 + len(short)} of 4 outputs lack lines; check the receivers\n")
