# SPDX-License-Identifier: Apache-2.0
"""`oomtrace prepare`: what it loads, what it says, and when it fails."""

from __future__ import annotations

from argparse import Namespace

import pytest
from support.plan_features import features

from ooMtrace.commands import prepare
from ooMtrace.errors import CannotTraceError, ProbeError
from ooMtrace.kernel.plan import Plan
from ooMtrace.probe.image import Image
from ooMtrace.probe.image_cache import ImageCache

IMAGE = Image((), ())


class FakeProbe:
    """Compiles, loads and stores, unless `error` says that the kernel refuses the programs."""

    error: ProbeError | None = None
    loaded: list[str]

    def __init__(self, plan: Plan, release: str, cache: ImageCache, *, attach: bool) -> None:
        assert not attach
        if self.error:
            raise self.error
        if cache.read(plan, release) is None:
            cache.write(plan, release, IMAGE)
        self.loaded.append(plan.level)

    def close(self) -> None:
        self.loaded.append("closed")


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the command with a cache in tmp_path; return its messages and what it loaded."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(prepare, "observe", lambda store: features("kprobes"))
    monkeypatch.setattr(prepare, "Probe", FakeProbe)

    def run(**settings: object) -> tuple[list[str], list[str]]:
        said: list[str] = []
        monkeypatch.setattr(FakeProbe, "loaded", [], raising=False)
        assert prepare.run(Namespace(**settings), said.append) == 0
        return said, FakeProbe.loaded

    return run


def test_it_compiles_once_and_says_so(run, tmp_path):
    assert run() == ([f"the BPF programs for level full are compiled, in {tmp_path}"], ["full", "closed"])
    assert run() == ([f"the BPF programs for level full were compiled already, in {tmp_path}"], ["full", "closed"])
    assert len(list(tmp_path.iterdir())) == 1


def test_options_that_change_the_programs_have_programs_of_their_own(run, tmp_path):
    run()
    for settings in ({"lifecycle": True}, {"env": ["CI"]}, {"sigkill": "all"}, {"cmdline": "none"}):
        assert run(**settings)[0] == [f"the BPF programs for level full are compiled, in {tmp_path}"]


def test_level_log_needs_no_programs(run, tmp_path):
    assert run(level="log") == (["level log needs no BPF programs: there is nothing to compile"], [])


def test_without_a_cache_it_fails(run, monkeypatch):
    monkeypatch.setenv("CACHE_DIRECTORY", "/nonexistent/cache")

    with pytest.raises(CannotTraceError, match=r"^the cache /nonexistent/cache cannot be used;"):
        run()


def test_what_the_kernel_refuses_is_an_error_and_not_kept(run, monkeypatch, tmp_path):
    monkeypatch.setattr(FakeProbe, "error", ProbeError("refused"))

    with pytest.raises(ProbeError, match=r"^refused$"):
        run()
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_written_is_an_error(run, monkeypatch, tmp_path):
    monkeypatch.setattr(ImageCache, "write", lambda *_: None)

    with pytest.raises(CannotTraceError, match="cannot be written"):
        run()
