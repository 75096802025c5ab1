# SPDX-License-Identifier: Apache-2.0
"""Starting at the highest level that works: which level is tried when, and what the operator is shown."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from support.plan_features import NO_BTF, features
from support.probe_events import BOOT_ID, HOST
from support.sigkill_events import event, records

from ooMtrace import record
from ooMtrace.enrich import Enrichers
from ooMtrace.errors import CannotTraceError, ProbeError
from ooMtrace.kernel.features import Features
from ooMtrace.kernel.plan import Plan
from ooMtrace.reconcile.checkpoint import Checkpoint
from ooMtrace.runtime import attach, startup
from ooMtrace.settings import Settings


class FakeSource:
    def __init__(self) -> None:
        self.closed = 0
        self.files: list[int] = []

    def cgroup_changes(self):
        return iter(())

    def kill_count(self) -> int:
        return 7

    def close(self) -> None:
        self.closed += 1
        for file in self.files:
            os.close(file)


class FakeSigkills:
    def __init__(self, found: list[record.Sigkill]) -> None:
        self.found = found

    def sigkills(self) -> list[record.Sigkill]:
        return self.found

    def lost(self) -> int:
        return 0


class Start:
    """One start-up on a described host, where `refuse` maps levels to the errors that attaching them raises."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, host: Features) -> None:
        self.host = host
        self.refuse: dict[str, Exception] = {}
        self.files: dict[str, int] = {}
        self.tried: list[tuple[str, str]] = []
        self.settings: list[Settings] = []
        self.since: list[Checkpoint | None] = []
        self.chains: list[tuple[Settings, bool]] = []
        self.source = FakeSource()
        self.cache: FakeSource | None = None
        self.said: list[str] = []
        monkeypatch.setattr(attach, "open_cache", lambda warn: self.cache)
        monkeypatch.setattr(attach, "observe", self._observe)
        monkeypatch.setattr(attach, "attach", self._attach)
        monkeypatch.setattr(startup, "read_host", lambda: HOST)
        monkeypatch.setattr(startup, "open_source", self._open)
        monkeypatch.setattr(startup, "Reconciler", self._reconciler)
        monkeypatch.setattr(startup, "enrichers", self._enrichers)

    def _observe(self, store: object) -> Features:
        assert store is self.cache
        return self.host

    def _attach(self, plan: Plan, release: str, cache: object, warn: object) -> FakeSource:
        assert cache is self.cache
        assert cache is None or not self.cache.closed
        assert release == self.host.release
        self.tried.append((plan.level, next((one.fact for one in plan.obstacles if "BCC" in one.fact), "")))
        if plan.level in self.refuse:
            raise self.refuse[plan.level]
        self.source.files = [os.dup(2) for _ in range(self.files.get(plan.level, 0))]
        return self.source

    def _open(
        self,
        handle: FakeSource,
        level: str,
        host_features: Features,
        host: Any,
        warn: Callable[[str], None],
        settings: Settings,
    ) -> FakeSource:
        assert (handle, host, level) == (self.source, HOST, self.tried[-1][0])
        self.settings.append(settings)
        return handle

    def _reconciler(self, kill_count: Any, host: Any, level: str, since: Checkpoint | None) -> object:
        assert kill_count() == 7
        self.level = level
        self.since.append(since)
        return object()

    def _enrichers(self, settings: Settings, *, host_pids: bool) -> Enrichers:
        self.chains.append((settings, host_pids))
        return Enrichers()

    def run(self, settings: Settings | None = None, *, since: Checkpoint | None = None, verbose: bool = False) -> None:
        attachment = attach.attach_highest(settings or Settings(), self.said.append, verbose=verbose)
        with closing(startup.open_tracer(attachment, self.said.append, since)):
            assert self.source.closed == 0


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    return Start(monkeypatch, features("kprobes"))


def test_the_highest_level_is_attached_and_named(start):
    start.run()

    assert start.tried == [("full", "")]
    assert start.level == "full"
    assert start.said == ["tracing at level full; Ctrl-C ends"]
    assert start.source.closed == 1


def test_the_cache_is_open_while_levels_are_tried(start):
    start.cache = FakeSource()
    start.refuse["full"] = ProbeError("level full: no")
    start.run()

    assert [level for level, _ in start.tried] == ["full", "reduced"]
    assert start.cache.closed == 1


def test_settings_checkpoint_and_pid_namespace_reach_those_who_need_them(start):
    checkpoint = Checkpoint(BOOT_ID, 4, "2023-11-14T22:13:19.000000Z")
    settings = Settings(all=True, lifecycle=True, env=("A",), network=False, timeout_factor=2.0)
    start.run(settings, since=checkpoint)

    assert start.settings == [settings]
    assert start.since == [checkpoint]
    assert start.chains == [(settings, True)]


def test_what_the_kernel_refuses_is_tried_one_level_lower_and_the_reason_is_shown(start):
    start.refuse["full"] = ProbeError("level full: no", "do this", detail="a\nb")
    start.run()

    assert [level for level, _ in start.tried] == ["full", "reduced"]
    assert start.said == ["level full: no; do this", "tracing at level reduced; Ctrl-C ends"]


def test_it_falls_as_far_as_the_kernel_log(start):
    start.refuse = {level: ProbeError(f"level {level}: no") for level in ("full", "reduced", "minimal")}
    start.run()

    assert [level for level, _ in start.tried] == ["full", "reduced", "minimal", "log"]
    assert start.level == "log"


def test_the_verifiers_log_is_shown_only_on_request(start):
    start.refuse["full"] = ProbeError("level full: no", detail="line 1\nline 2")
    start.run(verbose=True)

    assert start.said[:3] == ["line 1", "line 2", "level full: no"]


def test_a_level_that_is_required_is_not_given_up(start):
    start.refuse["full"] = ProbeError("level full: no", "do this")
    with pytest.raises(CannotTraceError, match="level full: no; do this") as caught:
        start.run(Settings(require="full"))

    assert caught.value.exit_code == 77
    assert [level for level, _ in start.tried] == ["full"]


def test_below_the_required_level_nothing_is_tried(start):
    start.refuse = {level: ProbeError(f"level {level}: no") for level in ("full", "reduced")}
    with pytest.raises(CannotTraceError, match="level reduced: no"):
        start.run(Settings(require="reduced"))

    assert [level for level, _ in start.tried] == ["full", "reduced"]


def test_where_even_the_kernel_log_is_refused_the_host_cannot_trace(start):
    start.refuse = {level: ProbeError(f"level {level}: no") for level in ("full", "reduced", "minimal", "log")}
    with pytest.raises(CannotTraceError, match="level log: no"):
        start.run()


def test_without_bcc_the_plan_is_made_again_and_says_so(start):
    start.refuse["full"] = CannotTraceError("BCC's Python module is not installed", "install it")
    start.run()

    assert start.tried == [("full", ""), ("log", "BCC's Python module is not installed")]
    assert start.said == ["tracing at level log (BCC's Python module is not installed: install it); Ctrl-C ends"]


def test_obstacles_are_named_once_each(start):
    start.host = features("no-btf")
    start.run()

    reason = f"{NO_BTF[0]}: {NO_BTF[1]}"
    assert start.said == [f"tracing at level minimal ({reason}); Ctrl-C ends"]


def test_in_another_pid_namespace_that_is_said_and_proc_is_left_alone(start):
    start.host = replace(start.host, host_pids=False)
    start.run()

    assert start.said[0].startswith("the pid namespace is not the host's: ")
    assert [host_pids for _, host_pids in start.chains] == [False]


def test_by_default_the_verifiers_log_is_not_shown(start):
    start.refuse["full"] = ProbeError("level full: no", detail="line 1\nline 2")
    with startup.attached(Settings(), start.said.append):
        pass

    assert start.said == ["level full: no", "tracing at level reduced; Ctrl-C ends"]


@pytest.mark.parametrize("has_sigkills", [False, True])
def test_sigkills_are_read_where_the_probes_report_them(start, monkeypatch, has_sigkills):
    found = records(event()) if has_sigkills else []
    monkeypatch.setattr(startup, "sigkill_source", lambda *_: FakeSigkills(found) if has_sigkills else None)
    with startup.attached(Settings(), start.said.append) as tracer:
        lines = None if tracer.sigkills is None else list(tracer.sigkills.next_lines())

    assert [one.id for one in lines or ()] == [one.id for one in found]
    assert (lines is None) is not has_sigkills


def test_the_source_is_closed_when_tracing_fails(start):
    with pytest.raises(ZeroDivisionError), startup.attached(Settings(), start.said.append):
        raise ZeroDivisionError

    assert start.source.closed == 2  # by the tracer, and by what would have been left without one


@pytest.mark.parametrize(("refused", "level"), [((), "full"), (("full",), "reduced"), (("full", "reduced"), "minimal")])
def test_lines_state_the_level_that_was_reached(start, refused, level):
    start.refuse = {name: ProbeError(f"level {name}: refused", "hint") for name in refused}
    start.run()

    assert start.level == level


def test_lines_state_a_level_that_is_lower_than_what_was_allowed(start):
    start.host = replace(start.host, btf_error="there is none", offsets=None, mark_victim=None)
    start.run()

    assert start.level == "minimal"


@pytest.mark.parametrize(
    "settings", [Settings(sigkill="all"), Settings(memory_killers=("hunter",)), Settings(sigkill="memory-killers")]
)
def test_at_level_log_it_is_said_that_sigkills_from_user_space_are_not_reported(start, settings):
    start.run(replace(settings, level="log"))

    assert start.said[1:] == [
        "level log has no probes: SIGKILLs from user space are not reported (--sigkill)",
    ]


@pytest.mark.parametrize(
    "settings", [Settings(level="log"), Settings(level="log", sigkill="none"), Settings(sigkill="all")]
)
def test_sigkills_that_nobody_asked_for_or_that_are_reported_need_no_message(start, settings):
    start.run(settings)

    assert len(start.said) == 1


@contextmanager
def spare_fds(number: int) -> Iterator[None]:
    """Let this process open so many more files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [os.dup(0) for _ in range(number + 1)]  # a thread in accept(2) has reserved one that /proc does not show
    for fd in free:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_where_too_few_files_may_be_open_nothing_is_attached(start):
    with spare_fds(3), pytest.raises(CannotTraceError, match=r"^tracing: Too many open files; raise the limit"):
        start.run()

    assert start.tried == []


def test_four_files_are_enough_for_what_is_opened_after_attaching(start):
    with spare_fds(4):
        start.run()

    assert [level for level, _ in start.tried] == ["full"]


def test_a_level_that_leaves_too_few_files_is_detached_and_a_lower_one_is_tried(start):
    """The buffers of a level need a file for each CPU."""
    start.files["full"] = 1
    with spare_fds(4), closing(attach.attach_highest(Settings(), start.said.append)) as attachment:
        assert start.source.closed == 1

    assert (attachment.level, attachment.settings.level) == ("reduced", "reduced")
    assert start.said[0].startswith("level full: Too many open files; raise the limit")
