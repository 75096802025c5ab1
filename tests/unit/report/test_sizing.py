# SPDX-License-Identifier: Apache-2.0
"""A suggested limit follows from the kills at a limit, and states why."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooMtrace.report.sizing import rounded_up, sizing
from ooMtrace.report.tallies import Hits, Limit

MIB = 1 << 20


def limit(values: dict[int, Hits], newest: int, leaks: int = 0) -> Limit:
    kills = sum(hits.kills for hits in values.values())
    return Limit(kills, values, newest, Counter({"leak": leaks, "spike": kills - leaks}))


@pytest.mark.parametrize(
    ("values", "newest", "suggested"),
    [
        ({512 * MIB: Hits(3, 512 * MIB)}, 512, 640),
        ({512 * MIB: Hits(3, 500 * MIB)}, 512, 640),
        ({512 * MIB: Hits(3, None)}, 512, 640),
        ({512 * MIB: Hits(3, 768 * MIB, 256 * MIB)}, 512, 960),
        ({512 * MIB: Hits(1), 256 * MIB: Hits(9)}, 256, 640),
        ({200 * MIB: Hits(1)}, 200, 256),
        ({4096: Hits(1)}, 4096 / MIB, 1),
    ],
)
def test_the_suggestion_is_a_quarter_above_the_largest_known_need(values, newest, suggested):
    assert sizing(limit(values, int(newest * MIB))).suggested == suggested * MIB


def test_the_evidence_has_the_kills_their_use_and_other_values():
    values = {512 * MIB: Hits(3, 600 * MIB, 100 * MIB), 256 * MIB: Hits(2, 256 * MIB)}

    assert sizing(limit(values, 512 * MIB)).evidence == (
        "3 kills at 512.0 MiB, with up to 600.0 MiB in use, 100.0 MiB of it in swap. Also killed at 256.0 MiB."
        " It needs more than 600.0 MiB."
    )


def test_a_leak_is_not_answered_with_a_higher_limit():
    found = sizing(limit({MIB: Hits(3, MIB)}, MIB, leaks=2))

    assert found.suggested is None
    assert found.evidence.endswith("2 victims of 3 grew for an hour or longer: a leak fills any limit.")


def test_a_limit_of_0_is_not_a_size():
    assert sizing(limit({0: Hits(1, 0)}, 0)).suggested is None


@given(st.integers(1, 1 << 62))
def test_a_round_size_is_not_smaller_and_at_most_an_eighth_larger(amount):
    rounded = rounded_up(amount)

    assert amount <= rounded <= max(amount + amount // 8 + 1, MIB * (amount // MIB + 1))
    assert rounded % MIB == 0
    assert rounded_up(rounded) == rounded
