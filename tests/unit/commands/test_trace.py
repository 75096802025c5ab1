# SPDX-License-Identifier: Apache-2.0
"""The loop of the tracer, with everything around it replaced: when it waits, reopens, ends and with which error."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.probe_events import kill

from ooMtrace import cli
from ooMtrace.commands import trace
from ooMtrace.output.encode import encode, encode_pretty
from ooMtrace.output.lines import Format
from ooMtrace.output.sink import ClosedPipeError
from ooMtrace.output.url import OutputUrl
from ooMtrace.reconcile.checkpoint import Checkpoint
from ooMtrace.runtime import line_writer, startup
from ooMtrace.runtime.capabilities import Capability
from ooMtrace.runtime.notify import Notifier
from ooMtrace.settings import Settings


class FakeAttachment:
    level = "reduced"

    def __init__(self, run: Run) -> None:
        self.run = run

    def close(self) -> None:
        self.run.log.append("detach")


class FakeTracer:
    def __init__(self) -> None:
        self.earlier = [kill(id="earlier")]

    def fds(self) -> list[int]:
        return []

    def close(self) -> None:
        pass

    def catch_up(self) -> Iterator[Any]:
        return iter(self.earlier)


class FakeWriter:
    """Notes what it is asked; `pumps` says after how many turns the loop is stopped."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.dropped = 0

    def write(self, records: Any) -> None:
        self.run.log.append(("write", [one.id for one in records]))

    def timeout_ms(self) -> int:
        return 1234

    def pump(self) -> None:
        self.run.log.append("pump")
        self.run.after_pump()

    def finish(self) -> None:
        self.run.log.append("finish")
        self.dropped = self.run.dropped


class FakeOutputs:
    def __init__(self, run: Run, urls: Sequence[OutputUrl], format_: Format) -> None:
        self.run, self.format = run, format_
        self.has_stdout = not urls
        self.needs_files = any(url.scheme == "file" for url in urls)
        self.others = False

    def start(self, level: str) -> None:
        self.run.log.append(("start", level))

    def fds(self) -> list[int]:
        return []

    def blocked_fds(self) -> list[int]:
        return [42]

    def reopen(self) -> None:
        self.run.log.append("reopen")

    def lose_reader(self) -> bool:
        return self.others

    def check_all_written(self, dropped: int) -> None:
        self.run.log.append(("dropped", dropped))

    def close(self) -> None:
        self.run.log.append("close")


class FakePoller:
    def __init__(self, run: Run, output: int | None) -> None:
        self.run = run
        self.output = output
        self.stopped = self.reader_gone = False
        self.hangup = False

    def __enter__(self) -> FakePoller:
        self.run.poller = self
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self, timeout_ms: int, blocked: list[int]) -> None:
        self.run.log.append(("wait", timeout_ms, blocked))

    def take_hangup(self) -> bool:
        hangup, self.hangup = self.hangup, False
        return hangup


class Run:
    """`oomtrace` with a world of fakes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[Any] = []
        self.said: list[str] = []
        self.dropped = 0
        self.can_import_later = True
        self.turns = 1
        self.poller: Any = None
        self.outputs: Any = None
        self.attached: dict[str, Any] = {}
        self.kept: list[tuple[bool, bool]] = []
        monkeypatch.setattr(trace, "open_outputs", self._open_outputs)
        monkeypatch.setattr(line_writer, "LineWriter", lambda *_, **__: FakeWriter(self))
        monkeypatch.setattr(startup, "open_tracer", self._open_tracer)
        monkeypatch.setattr(trace, "import_all", lambda: self.log.append("import all"))
        monkeypatch.setattr(trace, "can_import_later", lambda: self.can_import_later)
        monkeypatch.setattr(trace, "Poller", lambda fds, output: FakePoller(self, output))
        monkeypatch.setattr(trace, "attach_highest", self._attach)
        monkeypatch.setattr(trace, "lower_oom_score", lambda say: self.log.append("oom score"))
        monkeypatch.setattr(trace, "lock_memory", lambda say: self.log.append("lock"))
        monkeypatch.setattr(trace, "has_bpf", lambda: True)
        monkeypatch.setattr(trace, "needed", self._needed)
        monkeypatch.setattr(trace, "drop_all_but", lambda kept, say: self.log.append("drop"))
        before = signal.getsignal(signal.SIGHUP)
        monkeypatch.setattr(signal, "signal", lambda *what: self.log.append(what))
        self.before = before

    def _attach(self, settings: Settings, say: Any, **more: Any) -> FakeAttachment:
        self.log.append("attach")
        self.attached = {"settings": settings, **more}
        return FakeAttachment(self)

    def _open_tracer(self, attachment: FakeAttachment, say: Any, since: Checkpoint | None) -> FakeTracer:
        self.log.append("open tracer")
        self.attached["since"] = since
        return FakeTracer()

    def _open_outputs(self, urls: Sequence[OutputUrl], _say: Any, format_: Format) -> FakeOutputs:
        self.outputs = FakeOutputs(self, urls, format_)
        return self.outputs

    def _needed(self, **what: bool) -> dict[str, bool]:
        self.log.append(what)
        return what

    def after_pump(self) -> None:
        self.turns -= 1
        if self.turns == 0:
            self.poller.stopped = True

    def __call__(self, *argv: str) -> int:
        _, arguments = cli.parse(list(argv))
        return trace.run(arguments, self.said.append)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    return Run(monkeypatch)


def test_it_catches_up_then_waits_and_pumps_until_it_is_stopped(run):
    run.turns = 2

    assert run() == 0
    turn = [("wait", 1234, [42]), "pump"]
    assert run.log == [
        (signal.SIGHUP, signal.SIG_IGN),
        "attach",
        "oom score",
        "lock",
        {"network": True, "files": False, "has_bpf": True},
        "drop",
        ("start", "reduced"),
        "open tracer",
        ("write", ["earlier"]),
        *turn,
        *turn,
        "finish",
        "close",
        "detach",
        ("dropped", 0),
    ]


def test_it_says_that_it_is_ready_before_it_loads_what_lines_need(run, monkeypatch):
    monkeypatch.setattr(Notifier, "ready", lambda self: run.log.append("ready"))
    run()

    assert run.log.index("drop") < run.log.index("ready") < run.log.index("open tracer")
    assert "import all" not in run.log


@pytest.mark.parametrize(("argv", "loads"), [((), True), (("--output", "x"), False)])
def test_what_only_its_owner_may_read_is_loaded_before_the_capability_for_it_is_dropped(run, argv, loads, monkeypatch):
    monkeypatch.setattr(trace, "needed", lambda **what: {Capability.DAC_OVERRIDE} if what["files"] else set())
    run.can_import_later = False
    run(*argv)

    assert ("import all" in run.log) == loads
    assert not loads or run.log.index("import all") < run.log.index("drop")


def test_a_hangup_is_ignored_before_anything_is_attached(run):
    run()

    assert run.log.index((signal.SIGHUP, signal.SIG_IGN)) < run.log.index("attach")


def test_a_hangup_reopens_the_output_and_goes_on(run, monkeypatch):
    run.turns = 3
    pump = FakeWriter.pump

    def pump_and_hang_up(writer: FakeWriter) -> None:
        pump(writer)
        run.poller.hangup = run.turns == 2

    monkeypatch.setattr(FakeWriter, "pump", pump_and_hang_up)

    assert run() == 0
    assert run.log.count("reopen") == 1
    assert run.log.count("pump") == 3
    assert run.log.index("reopen") > run.log.index("pump")


def test_without_a_reader_it_ends_at_once_and_writes_what_is_left(run):
    original = run.after_pump

    def gone() -> None:
        original()
        run.poller.stopped, run.poller.reader_gone = False, True

    run.turns, run.after_pump = 99, gone

    assert run() == 0
    assert run.log.count("pump") == 1
    assert "finish" in run.log


def test_lines_that_were_not_written_are_counted_at_the_end(run):
    run.dropped = 2
    run()

    assert run.log[-3:] == ["close", "detach", ("dropped", 2)]


def test_without_a_reader_of_stdout_it_goes_on_for_other_outputs(run):
    original, run.turns = run.after_pump, 3

    def gone() -> None:
        original()
        run.outputs.others, run.poller.reader_gone = True, run.turns == 2

    run.after_pump = gone

    assert run() == 0
    assert run.log.count("pump") == 3


def test_a_closed_pipe_is_a_quiet_end(run):
    def broken() -> None:
        raise ClosedPipeError("nobody reads")

    run.after_pump = broken

    assert run() == 0
    assert run.log[-2:] == ["close", "detach"]
    assert "finish" not in run.log


@pytest.mark.parametrize(("argv", "files"), [((), False), (("--output", "x"), True), (("--ready-file", "ready"), True)])
def test_files_and_networks_decide_which_capabilities_are_kept(run, argv, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(*argv, "--no-network")

    assert {"network": False, "files": files, "has_bpf": True} in run.log


def test_only_stdout_is_watched_for_a_reader_that_goes(run, tmp_path):
    run()
    assert run.poller.output == 1

    run.turns = 1
    run("--output", str(tmp_path / "x"))
    assert run.poller.output is None


def test_the_ready_file_is_there_while_the_loop_runs(run, tmp_path):
    file, there = tmp_path / "ready", []
    original = run.after_pump

    def look() -> None:
        there.append(file.exists())
        original()

    run.after_pump = look
    run("--ready-file", str(file))

    assert there == [True]
    assert not file.exists()


def test_the_checkpoint_of_the_state_directory_is_where_it_begins(run, tmp_path):
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state/checkpoint").write_text(
        "oomtrace-state 1\nboot_id 1cfd1ec5-69f6-4723-812e-ff5c67412017\noom_kill 4\ntime 2023-11-14T22:13:19Z\n"
    )
    run("--state", str(tmp_path / "state"), "--verbose")

    assert run.attached["since"].oom_kill == 4
    assert run.attached["verbose"] is True
    assert run.attached["settings"] == Settings()


def test_systemds_state_directory_is_the_default(run, tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}/a:{tmp_path}/b")
    run()

    assert Path(tmp_path / "a").is_dir()
    assert not Path(tmp_path / "b").exists()


@pytest.mark.parametrize(("argv", "format_"), [((), encode), (("--pretty",), encode_pretty)])
def test_lines_are_pretty_if_that_was_asked_for(run, argv, format_):
    run(*argv)

    assert run.outputs.format(kill()) == format_(kill())
