# SPDX-License-Identifier: Apache-2.0
"""From a plan to its source: each setting reaches the part that it is about."""

from __future__ import annotations

from typing import Any

import pytest
from support.plan_features import features
from support.probe_events import HOST

from ooMtrace.errors import ProbeError
from ooMtrace.kernel.plan import plan
from ooMtrace.kmsg import device
from ooMtrace.settings import Settings
from ooMtrace.sources import attach, kmsg_source
from ooMtrace.sources import open as module
from ooMtrace.sources.open import open_source

SETTINGS = Settings(all=True, lifecycle=True, env=("QUEUE",), timeout_factor=3.0)


class Made:
    """Stands for a class; keeps what it was made with."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.arguments, self.keywords = arguments, keywords


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    log = type("KernelLog", (Made,), {})
    for place, name in ((attach, "Probe"), (module, "ProbeSource"), (module, "Assembler"), (kmsg_source, "KmsgSource")):
        monkeypatch.setattr(place, name, type(name, (Made,), {}))
    for place in (device, module):
        monkeypatch.setattr(place, "KernelLog", log)


def opened(name: str, settings: Settings = SETTINGS) -> Any:
    host = features(name)
    chosen = plan(host, settings)
    return open_source(attach.attach(chosen, host.release, None, print), chosen.level, host, HOST, print, settings)


@pytest.mark.parametrize(("name", "level"), [("kprobes", "full"), ("no-btf", "minimal")])
def test_where_bpf_can_be_loaded_the_source_is_the_probes(name, level):
    source = opened(name)

    assert type(source).__name__ == "ProbeSource"
    probe, assembler, warn = source.arguments
    assert probe.arguments[:2] == (plan(features(name), SETTINGS), features(name).release)
    assert assembler.arguments == (HOST, features(name).symbols, level)
    assert assembler.keywords == {"all": True, "lifecycle": True, "env": ("QUEUE",), "timeout_factor": 3.0}
    assert warn is print


def test_elsewhere_it_is_the_kernel_log_from_now_on():
    source = opened("no-capabilities")

    assert type(source).__name__ == "KmsgSource"
    log, host, timeout_factor = source.arguments
    assert log.keywords == {"at_end": True}
    assert (host, timeout_factor) == (HOST, 3.0)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(1, "Operation not permitted"), "Operation not permitted; see `oomtrace doctor`"),
        (OSError(24, "Too many open files"), "Too many open files; raise the limit on open files: ulimit -n 1024"),
    ],
)
def test_a_kernel_log_that_cannot_be_opened_is_a_refusal_with_its_reason(monkeypatch, error, line):
    def refuse(**_: Any) -> None:
        raise error

    monkeypatch.setattr(device, "KernelLog", refuse)
    with pytest.raises(ProbeError) as caught:
        opened("no-capabilities")

    assert str(caught.value) == f"/dev/kmsg: {line}"
