# SPDX-License-Identifier: Apache-2.0
"""What options take as a value, at its limits."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable

import pytest

from ooMtrace.commands.option_values import count, process_name, service, timeout_factor


@pytest.mark.parametrize(
    ("convert", "text", "value"),
    [
        (service, "0=x", (0, "x")),
        (service, "65535=a=b", (65535, "a=b")),
        (process_name, "earlyoom", "earlyoom"),
        (process_name, "kworker/0:1", "kworker/0:1"),
        (count, "0", 0),
        (count, "999999999", 999_999_999),
        (timeout_factor, ".5", 0.5),
        (timeout_factor, "100", 100.0),
    ],
)
def test_a_value_within_the_limits_is_converted(convert: Callable[[str], object], text: str, value: object):
    assert convert(text) == value


@pytest.mark.parametrize(
    ("convert", "text"),
    [
        *((service, text) for text in ("65536=x", "-1=x", "=x", "80=", "80", "80=a\nb", "\u0661=x")),
        *((process_name, text) for text in ("", "/usr/bin/earlyoom")),
        *((count, text) for text in ("", "-1", "1000000000", "1.0", " 1", "\u0661")),
        *((timeout_factor, text) for text in ("0", "0.0", "100.1", "-1", "1e1", "inf", "\u0661")),
    ],
)
def test_a_value_beyond_them_is_refused_in_one_line_that_repeats_it(convert: Callable[[str], object], text: str):
    with pytest.raises(ArgumentTypeError) as caught:
        convert(text)

    assert str(caught.value).startswith(f"{text!r} is not ")
    assert "\n" not in str(caught.value)
