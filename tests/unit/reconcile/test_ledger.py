# SPDX-License-Identifier: Apache-2.0
"""The ledger: which ordinals were delivered, which are missing, and which kills of the kernel log those are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.reconcile.ledger import Ledger


def logged(number: int, tid: int) -> record.OomKill:
    one = kill(fidelity="log", process=record.Process(tid=tid))
    return replace(one, oom=replace(one.oom, number=number))


def ledger(closed: int = 10, **arrived: int) -> Ledger:
    one = Ledger(closed)
    for number, tid in arrived.items():
        one.record_delivery(int(number.removeprefix("n")), tid)
    return one


@pytest.mark.parametrize(
    ("arrived", "missing", "complete"),
    [
        ({}, 4, 10),
        ({"n11": 1, "n12": 2, "n13": 3, "n14": 4}, 0, 14),
        ({"n11": 1, "n13": 3}, 2, 11),
        ({"n14": 4}, 3, 10),
        ({"n11": 1, "n12": 2, "n13": 3, "n14": 4, "n15": 5}, 0, 15),
        ({"n9": 1, "n10": 2}, 4, 10),
    ],
)
def test_a_kill_that_was_not_delivered_is_missing(arrived, missing, complete):
    one = ledger(**arrived)

    assert one.missing(14) == missing
    assert one.complete() == complete


def test_a_repeat_kill_is_not_missing_though_it_has_no_line():
    one = ledger(n11=1, n13=3)
    one.record_delivery(12, None)

    assert one.missing(13) == 0


def test_a_dropped_kill_is_missing_again():
    one = ledger(n11=1, n12=2)
    one.mark_dropped(11)

    assert one.missing(12) == 1
    assert one.complete() == 10


def test_a_dropped_kill_whose_thread_is_not_known_is_missing_once():
    one = ledger()
    one.record_delivery(11, None)
    assert one.missing(11) == 0
    one.mark_dropped(11)

    assert one.missing(11) == 1
    assert one.is_missing(11)


def test_a_kill_is_dropped_once_and_may_be_delivered_again():
    one = ledger(n11=1)
    one.mark_dropped(11)
    one.record_delivery(11, 1)

    assert one.missing(11) == 0
    assert one.complete() == 11


def test_a_kill_dropped_after_the_ledger_was_closed_is_missing_from_then_on():
    one = ledger(n11=1)
    one.close(11)
    one.mark_dropped(11)
    one.mark_dropped(None, 3)

    assert one.missing(11) == 4
    one.close(12)
    assert one.missing(12) == 0


def test_a_closed_ledger_is_not_opened_again():
    one = ledger(n11=1, n15=5)
    one.close(13)
    one.close(12)

    assert one.closed == 13
    assert one.missing(15) == 1
    assert one.complete() == 13


LOGGED = [logged(number, number + 100) for number in range(11, 16)]


@pytest.mark.parametrize("whole", [True, False])
def test_kills_that_only_the_log_has_are_undelivered(whole):
    one = ledger(n11=111, n12=112, n14=114)

    assert one.undelivered(LOGGED, 15, whole=whole) == [LOGGED[2], LOGGED[4]]


def test_a_kill_that_the_probes_missed_is_found_though_later_ones_have_its_ordinal():
    one = ledger(n11=111, n12=113, n13=114, n14=115)

    assert one.missing(15) == 1
    assert one.undelivered(LOGGED, 15, whole=True) == [LOGGED[1]]


def test_a_log_without_the_delivered_kills_belongs_to_another_boot_and_is_not_used():
    one = ledger(n11=111, n12=999)

    assert one.undelivered(LOGGED, 15, whole=True) == []


def test_a_log_that_does_not_go_back_far_enough_is_used_for_the_rest():
    one = ledger(n11=111, n14=114)

    assert one.undelivered(LOGGED[2:], 15, whole=False) == [LOGGED[2], LOGGED[4]]


def test_a_thread_id_that_is_reused_is_counted_once_for_each_kill():
    one = ledger(n11=111, n12=111)
    twice = [logged(11, 111), logged(12, 111), logged(13, 111)]

    assert one.undelivered(twice, 13, whole=True) == [twice[2]]


@given(st.sets(st.integers(1, 40)), st.integers(0, 40))
def test_missing_and_delivered_kills_add_up(numbers, until):
    one = Ledger(0)
    for number in numbers:
        one.record_delivery(number, number)

    assert one.missing(until) + sum(number <= until for number in numbers) == until
    assert set(range(1, one.complete() + 1)) <= numbers
    assert one.complete() + 1 not in numbers


def test_backfilled_kills_fill_the_gaps():
    one = ledger(n12=112, n14=114)
    one.mark_backfilled([111, 113, None])

    assert one.missing(15) == 0
    assert one.complete() == 15
    assert one.is_missing(16)
    assert not one.is_missing(15)
    assert not one.is_missing(10)


def test_a_kill_delivered_while_the_log_was_read_does_not_discredit_it():
    one = ledger(n11=111, n12=112, n14=114, n16=999)

    assert one.undelivered(LOGGED[:4], 14, whole=True) == [LOGGED[2]]


def test_kills_beyond_the_ordinal_up_to_which_it_is_closed_stay_delivered():
    one = ledger(n11=1, n12=2, n13=3)
    one.close(11)

    assert (one.missing(13), one.is_missing(12), one.complete()) == (0, False, 13)


def test_nothing_is_complete_while_a_dropped_kill_has_no_known_ordinal():
    one = ledger(n11=1, n12=2)
    one.mark_dropped(None)

    assert one.complete() == 10
    assert one.missing(12) == 1
