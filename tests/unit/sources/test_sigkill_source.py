# SPDX-License-Identifier: Apache-2.0
"""The source of SIGKILLs: its own perf buffer, and what is lost there."""

from __future__ import annotations

from support.probe_events import HOST, NOW
from unit.probe.test_decode_sigkill import raw

from ooMtrace.assemble.sigkill import SigkillAssembler
from ooMtrace.kernel.plan import Plan
from ooMtrace.sources.sigkill_source import SigkillSource, sigkill_source


class FakeProbe:
    def __init__(self, *records: bytes) -> None:
        self.records = list(records)

    def read(self, buffer: str) -> list[bytes]:
        assert buffer == "sigkills"
        found, self.records = self.records, []
        return found

    def lost_records(self, buffer: str) -> int:
        return 3 if buffer == "sigkills" else 100


def test_what_arrived_is_a_record_once():
    source = SigkillSource(FakeProbe(bytes(raw())), SigkillAssembler(HOST, "full"), print, lambda: NOW)  # type: ignore[arg-type]

    assert [found.event for found in source.sigkills()] == ["sigkill"]
    assert source.sigkills() == []


def test_what_cannot_be_decoded_is_lost_and_stated():
    said: list[str] = []
    probe = FakeProbe(b"x", bytes(raw()))
    source = SigkillSource(probe, SigkillAssembler(HOST, "full"), said.append, lambda: NOW)  # type: ignore[arg-type]

    assert len(source.sigkills()) == 1
    assert len(said) == 1
    assert source.lost() == 4


def test_a_plan_without_their_buffer_has_no_source():
    plan = Plan("full", "oomtrace.bpf.c", {}, (), ())

    assert sigkill_source(object(), plan, HOST, print) is None  # type: ignore[arg-type]
