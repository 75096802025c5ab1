# SPDX-License-Identifier: Apache-2.0
"""A kill between the moment that the probes are attached and the moment that lines can be written has its line."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from support.tracer import RunningTracer

ATTEMPTS = 5
"""On a busy machine the tracer may have loaded everything before it is stopped."""


def has_loaded_the_encoder(tracer: RunningTracer) -> bool:
    return "/orjson" in Path(f"/proc/{tracer.process.pid}/maps").read_text()


@pytest.mark.parametrize("level", ["reduced", "minimal"])
def test_a_kill_before_anything_is_loaded_that_lines_need_has_its_line(tmp_path, victim, cgroup, level):
    for attempt in range(ATTEMPTS):
        killed = victim("hog", cgroup(16), 40)
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with RunningTracer(folder, "--level", level) as tracer:
            tracer.process.send_signal(signal.SIGSTOP)
            early = not has_loaded_the_encoder(tracer)
            killed.go()
            killed.end()
            tracer.process.send_signal(signal.SIGCONT)
            (line,) = tracer.lines_of([killed.pid])
            assert (line["event"], line["fidelity"]) == ("oom_kill", level)
            assert has_loaded_the_encoder(tracer)
        if early:
            return
    pytest.fail("the tracer was never stopped in time")
