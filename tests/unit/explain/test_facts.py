# SPDX-License-Identifier: Apache-2.0
"""Facts have the type of their field or are absent, and their text is safe for a terminal."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from ooMtrace.explain.facts import MOST, Facts, clean

WRONG = [None, True, "1", 1.0, [], {}]


@pytest.mark.parametrize("value", [*WRONG, 1 << 64, -(1 << 63) - 1])
def test_what_is_no_64_bit_integer_is_no_number(value):
    assert Facts({"a": {"b": value}}).number("a.b") is None


@pytest.mark.parametrize("value", [0, -1, (1 << 64) - 1, -(1 << 63)])
def test_an_integer_is_a_number_and_an_amount_if_not_negative(value):
    facts = Facts({"a": {"b": value}})

    assert facts.number("a.b") == value
    assert facts.amount("a.b") == (value if value >= 0 else None)


@pytest.mark.parametrize("value", [None, 1, "", [], {}, True])
def test_what_is_no_text_is_none(value):
    facts = Facts({"a": value})

    assert (facts.text("a"), facts.path("a")) == (None, None)
    assert facts.word("a") == ("" if value == "" else None)


def test_an_id_in_a_path_is_cut():
    assert Facts({"p": f"/docker/{'0a' * 32}/x"}).path("p") == "/docker/0a0a0a0a0a0a../x"
    assert Facts({"p": f"/{'0a' * 31}"}).path("p") == f"/{'0a' * 31}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-28T09:00:01Z", datetime(2026, 11, 28, 9, 0, 1, tzinfo=timezone.utc)),
        ("2026-11-28T09:00:01.5Z", datetime(2026, 11, 28, 9, 0, 1, 500_000, tzinfo=timezone.utc)),
        ("2026-11-28T09:00:01.123456789Z", datetime(2026, 11, 28, 9, 0, 1, 123_456, tzinfo=timezone.utc)),
        ("2026-13-28T09:00:01Z", None),
        ("2026-11-28T09:00:01", None),
        ("2026-11-28T09:00:01.1234567890Z", None),
        ("\uff12026-11-28T09:00:01Z", None),
        (5, None),
    ],
)
def test_a_time_is_in_utc(value, expected):
    assert Facts({"t": value}).time("t") == expected


def test_of_a_list_only_members_of_the_type_are_read_and_only_so_many():
    facts = Facts({"l": [1, "a  b\n", {"x": 1}, None, "\x1b"], "long": ["x"] * (MOST + 1), "t": "ab"})

    assert facts.texts("l") == ("a b", "\\x1b")
    assert facts.raw_texts("l") == ("a  b\n", "\x1b")
    assert [part.number("x") for part in facts.parts("l")] == [1]
    assert len(facts.texts("long")) == MOST
    assert (facts.texts("t"), facts.raw_texts("absent"), facts.parts("t")) == ((), (), ())


def test_false_and_zero_are_facts_and_only_true_is_true():
    facts = Facts({"no": False, "zero": 0, "one": 1, "yes": True, "null": None})

    assert [facts.has(name) for name in ("no", "zero", "null", "absent", "no.more")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert [facts.is_true(name) for name in ("yes", "one", "no", "absent")] == [True, False, False, False]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x1b[31m\n", "a\\x1b[31m\\x0a"),
        ("a\u202eb", "a\\u202eb"),
        ("\u2028", "\\u2028"),
        ("\ue000", "\\ue000"),
        ("\U000e0001", "\\U000e0001"),
        ("é勘", "é勘"),
    ],
)
def test_what_a_terminal_acts_on_or_cannot_show_is_escaped(text, expected):
    assert clean(text) == expected


def test_the_middle_of_a_long_text_is_left_out():
    assert clean("a" * 20 + "b" * 20, 15) == "aaaaa[...]bbbbb"
    assert clean("é" * 20 + "b" * 20, 15) == "ééééé[...]bbbbb"
    assert clean("a" * 15, 15) == "a" * 15
    assert clean("a" + "x" * 1_000_000 + "b", 15) == "axxxx[...]xxxxb"
