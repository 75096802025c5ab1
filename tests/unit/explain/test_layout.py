# SPDX-License-Identifier: Apache-2.0
"""Lines of 80 columns: no part of a long word is lost, what does not fit is left out by rank, colours mark labels."""

from __future__ import annotations

import pytest

from ooMtrace.explain.layout import Block, cut, fact, fit, numbered, render, two_sided, width, wrap


def test_nothing_of_a_word_longer_than_a_line_is_lost():
    word = "".join(chr(97 + at % 26) for at in range(25))

    assert wrap(f"a {word} b", 10, 9) == ["a", word[:10], word[10:20], f"{word[20:]} b"]


def test_a_text_is_broken_at_spaces_and_fills_its_lines():
    assert wrap("ab cd efg", 5, 9) == ["ab cd", "efg"]


def test_the_end_of_a_text_with_too_many_lines_is_left_out_visibly():
    assert wrap("aa bb cc dd", 5, 2) == ["aa bb", "cc dd"]
    assert wrap("aa bb cc dd ee", 5, 2) == ["aa bb", "cc..."]
    assert wrap("aaaaa b cc dd", 5, 2) == ["aaaaa", "b..."]
    assert wrap("aaaaa bbbbb c", 9, 1) == ["aaaaa ..."]


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "ab..."),
        ("ab def", 6, "ab def"),
        ("ab cdef", 6, "ab..."),
        ("abc", 2, ".."),
    ],
)
def test_a_text_is_cut_to_the_columns(text, columns, expected):
    assert cut(text, columns) == expected


def test_wide_characters_take_two_columns_and_combining_ones_none():
    assert [width("ab"), width("勘定"), width("e\u0301"), width("\uff21")] == [2, 4, 1, 2]
    assert cut("勘定処理", 6) == "勘..."


def test_both_ends_of_a_headline_are_at_the_margins():
    shown = two_sided("left", "right")

    assert (len(shown), shown.split()) == (80, ["left", "right"])
    assert two_sided("x" * 80, "right") == "x" * 70 + "...  right"


def block(name: str, rank: int, lines: int = 1, kind: str = "text") -> Block:
    return Block(kind, (name,) * lines, rank)  # type: ignore[arg-type]


def test_what_does_not_fit_is_left_out_by_rank_and_the_order_stays():
    blocks = [block("a", 5, 2), block("b", 1, 2), block("c", 3, 2), block("d", 4, 1)]

    assert [one.lines[0] for one in fit(blocks, 5)] == ["b", "c", "d"]
    assert [one.lines[0] for one in fit(blocks, 7)] == ["a", "b", "c", "d"]


def test_of_the_same_rank_the_first_is_shown():
    assert [one.lines[0] for one in fit([block("a", 1), block("b", 1)], 1)] == ["a"]


def test_a_heading_is_not_shown_without_what_it_heads():
    heading, advice = block("What to do", 1, kind="heading"), block("1", 2, lines=3, kind="advice")

    assert fit([block("a", 0), heading, advice], 4) == [block("a", 0)]
    assert fit([block("a", 0), heading, advice], 5) == [block("a", 0), heading, advice]


def test_colour_marks_the_label_of_a_fact_and_not_what_it_states():
    first, second = render([fact("where", ["host a", "unit b"], 1)], color=True).splitlines()

    assert first == "\x1b[2m  where     \x1b[0mhost a"
    assert second == " " * 12 + "unit b"


def test_colour_marks_the_headline_and_commands_and_no_sentence():
    blocks = [Block("headline", ("Killed",), 0), Block("command", ("Its job:", "  redis-cli"), 0)]
    blocks += [Block("text", ("a text",), 0), Block("heading", ("To do",), 0), numbered(1, "an advice", 0)]

    assert render(blocks, color=True).splitlines() == [
        "\x1b[1;31mKilled\x1b[0m",
        "Its job:",
        "\x1b[36m  redis-cli\x1b[0m",
        "a text",
        "\x1b[1mTo do\x1b[0m",
        "  1 an advice",
    ]


def test_an_advice_is_indented_below_its_number():
    assert numbered(3, "word " * 20, 1).lines[1].startswith("    word")
    assert numbered(3, "word " * 20, 1).lines[0].startswith("  3 word")
