# SPDX-License-Identifier: Apache-2.0
"""Untrusted text as one printable line of bounded length."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooMtrace.output.terminal import MAX_LENGTH, escape_control


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("naïve-名 \U0001f600", "naïve-名 \U0001f600"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\nb\r\tc\0", "a\\x0ab\\x0d\\x09c\\x00"),
        ("\x7f\x80\x9b\x9f\xa0", "\\x7f\\x80\\x9b\\x9f\xa0"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        (os.fsdecode(b"file-\xff\x80"), "file-\\xff\\x80"),
        ("\ud800\udc00\udfff", "\\ud800\\udc00\\udfff"),
    ],
)
def test_characters_that_control_a_terminal_are_escaped(text, shown):
    assert escape_control(text) == shown


@pytest.mark.parametrize(
    ("longest", "shown"), [(26, "abcdefghijklmnopqrstuvwxyz"), (25, "abcdefghij[...]qrstuvwxyz"), (9, "ab[...]yz")]
)
def test_the_middle_of_a_long_text_is_left_out(longest, shown):
    assert escape_control("abcdefghijklmnopqrstuvwxyz", longest) == shown


@given(st.text(max_size=30).map(lambda text: text * 200))
def test_any_text_is_one_printable_line_of_bounded_length(text):
    shown = escape_control(text)

    assert len(shown) <= MAX_LENGTH
    assert len(shown.splitlines()) <= 1
    assert "\x1b" not in shown
    shown.encode()
