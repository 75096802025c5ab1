# SPDX-License-Identifier: Apache-2.0
"""`oomtrace demo`: it kills nothing before it can show the line, and shows only its own kill."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from support.probe_events import kill, lost

from ooMtrace import cli, record
from ooMtrace.commands import demo
from ooMtrace.kernel.scratch_cgroup import ScratchCgroup
from ooMtrace.runtime.poller import Poller
from ooMtrace.settings import Settings


@pytest.mark.parametrize(
    ("path", "pid", "ours"),
    [
        ("/oomtrace-demo-1", 5000, True),
        ("/docker/0123/oomtrace-demo-1", 5000, True),
        ("/oomtrace-demo-2", 7, False),
        (None, 7, True),
        (None, 5000, False),
    ],
)
def test_the_demo_knows_its_victim_by_its_cgroup_first(path, pid, ours):
    memcg = record.Memcg(path=path) if path else None
    one = kill(process=record.Process(pid=pid, tid=pid), oom=record.Oom(incident="", memcg=memcg))

    assert demo._is_ours(one, 7, ScratchCgroup(Path("/x"), "/oomtrace-demo-1", 1)) is ours


def test_an_output_that_cannot_be_written_is_found_before_anything_is_killed(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(demo, "attached", lambda *_, **__: pytest.fail("attached"))
    monkeypatch.setattr(demo, "scratch_cgroup", lambda *_: pytest.fail("a cgroup was made"))

    assert cli.main(["demo", "--output", str(tmp_path / "nowhere/x")]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"oomtrace: {tmp_path}/nowhere/x: No such file or directory; ")
    assert said.count("\n") == 1


class FakeTracer:
    """Delivers a stranger's kill first, and then the one of the demo."""

    def __init__(self, *turns: list[record.Record]) -> None:
        self.turns = list(turns)

    def fds(self) -> list[int]:
        return []

    def records(self) -> list[record.Record]:
        return self.turns.pop(0) if self.turns else []


@pytest.mark.parametrize("pretty", [False, True])
def test_the_line_of_its_own_kill_is_written_and_no_other(monkeypatch, tmp_path, capfd, pretty):
    cgroup = ScratchCgroup(tmp_path, "/oomtrace-demo-x", 1)

    def of(path: str) -> record.OomKill:
        return kill(id=path, seq=7, oom=record.Oom(incident="", memcg=record.Memcg(path=path)))

    tracer = FakeTracer([lost(), of("/another")], [of(cgroup.path)])
    asked: list[Settings] = []

    @contextmanager
    def attached(settings, say, *, verbose):
        asked.append(settings)
        yield tracer

    monkeypatch.setattr(demo, "attached", attached)
    monkeypatch.setattr(demo, "scratch_cgroup", lambda name: nullcontext(cgroup))
    monkeypatch.setattr(demo, "_victim", lambda cgroup: nullcontext(7))
    monkeypatch.setattr(Poller, "wait", lambda *_: None)

    assert cli.main(["demo", "--no-cmdline", *(["--pretty"] if pretty else [])]) == 0
    out = capfd.readouterr().out
    assert (json.loads(out)["id"], json.loads(out)["seq"]) == (cgroup.path, 1)
    assert (out.count("\n") > 1) is pretty
    assert asked == [Settings(cmdline="none", sigkill="none")]


def test_a_kill_that_is_not_seen_is_an_error(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(demo, "attached", lambda *_, **__: nullcontext(FakeTracer()))
    monkeypatch.setattr(demo, "scratch_cgroup", lambda name: nullcontext(ScratchCgroup(tmp_path, "/x", 1)))
    monkeypatch.setattr(demo, "_victim", lambda cgroup: nullcontext(7))
    monkeypatch.setattr(demo, "TIMEOUT_S", 0)

    assert cli.main(["demo"]) == 1
    assert "the kill was not seen" in capsys.readouterr().err


@pytest.mark.parametrize(("inherited", "own"), [("-1000", "0"), ("-1", "0"), ("0", "0"), ("500", "500")])
def test_the_victim_can_be_killed_whatever_score_it_inherits(tmp_path, inherited, own):
    """No privilege to lower one is needed here: a file stands in for the kernel's."""
    score = tmp_path / "oom_score_adj"
    score.write_text(f"{inherited}\n")
    victim = demo.VICTIM.replace("/proc/self/oom_score_adj", str(score))
    done = subprocess.run([sys.executable, "-I", "-S", "-c", victim, "1"], input=b"!", capture_output=True, check=True)

    assert (done.stdout, done.stderr) == (b"", b"")
    assert int(score.read_text().split()[0]) == int(own)
