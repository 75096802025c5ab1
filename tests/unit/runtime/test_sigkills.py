# SPDX-License-Identifier: Apache-2.0
"""SIGKILLs wait behind OOM kills, in a bounded number, and what is lost of them is announced."""

from __future__ import annotations

from dataclasses import replace

from support.probe_events import HOST, kill
from support.sigkill_events import event, records

from ooMtrace.reconcile.reconciler import Reconciler
from ooMtrace.record import Sigkill
from ooMtrace.runtime.pipeline import KILLS_PER_TURN, Tracer
from ooMtrace.runtime.sigkills import SIGKILLS_PER_TURN, Sigkills


class FakeSource:
    """Delivers `kills` OOM kills, then no more; and whatever SIGKILLs there are."""

    def __init__(self, kills: int = 0, sigkills: int = 0) -> None:
        self.arrived = [kill(id=str(number)) for number in range(kills)]
        self.arrived_sigkills = records(*(event(pid, 4000 + pid) for pid in range(1, sigkills + 1)))
        self.asked = 0
        self.lost_count = 0

    def fds(self):
        return []

    def next_due(self):
        return None

    def kills(self, _delivery_log):
        arrived, self.arrived = self.arrived, []
        return iter(arrived)

    drain = kills

    def kill_count(self):
        return 0

    def lost_records(self):
        return 0

    def close(self):
        pass

    def cgroup_changes(self):
        return []

    def sigkills(self):
        self.asked += 1
        arrived, self.arrived_sigkills = self.arrived_sigkills, []
        return arrived

    def lost(self):
        return self.lost_count


def tracer(source: FakeSource) -> Tracer:
    sigkills = Sigkills(source, lambda found: replace(found, message="enriched"))
    return Tracer(source, Reconciler(lambda: 0, HOST, "full"), sigkills=sigkills)


def kinds(found):
    return ["sigkill" if isinstance(one, Sigkill) else "kill" for one in found]


def test_oom_kills_go_first():
    source = FakeSource(kills=KILLS_PER_TURN + 1, sigkills=1)
    running = tracer(source)

    assert kinds(running.records()) == ["kill"] * KILLS_PER_TURN
    assert running.next_due() == 0
    assert kinds(running.records()) == ["kill", "sigkill"]


def test_a_flood_is_written_a_few_at_a_time_and_read_no_faster():
    source = FakeSource(sigkills=2 * SIGKILLS_PER_TURN)
    running = tracer(source)

    assert kinds(running.records()) == ["sigkill"] * SIGKILLS_PER_TURN
    assert running.next_due() == 0
    source.arrived = [kill()]
    source.arrived_sigkills = records(event(9999))
    assert kinds(running.records()) == ["kill", *["sigkill"] * SIGKILLS_PER_TURN]
    assert source.asked == 1
    assert kinds(running.records()) == ["sigkill"]


def test_each_is_enriched():
    assert [found.message for found in tracer(FakeSource(sigkills=1)).records()] == ["enriched"]


def test_at_the_end_all_are_written():
    source = FakeSource(kills=1, sigkills=3 * SIGKILLS_PER_TURN)

    assert kinds(tracer(source).drain()) == ["kill", *["sigkill"] * 3 * SIGKILLS_PER_TURN]


def test_nothing_is_due_without_sigkills():
    assert tracer(FakeSource()).next_due() is None


def test_losses_are_announced_once_and_not_before_a_line_is_accepted():
    source = FakeSource()
    sigkills = Sigkills(source, lambda found: found)
    (found,) = records(event())
    source.lost_count = 3

    refused = sigkills.with_losses(found)
    sigkills.mark_dropped()
    accepted = sigkills.with_losses(found)
    sigkills.accept(accepted)

    assert (refused.sigkill.dropped_before, accepted.sigkill.dropped_before) == (3, 4)
    assert sigkills.with_losses(found).sigkill.dropped_before is None


def test_the_output_dropping_a_sigkill_is_no_missing_oom_kill():
    running = tracer(FakeSource())
    (found,) = records(event())

    running.mark_dropped(found)

    assert running.lost_records() == 0
    assert running.reconcile_due() is None
    assert running.sigkills is not None
    assert running.sigkills.with_losses(found).sigkill.dropped_before == 1
