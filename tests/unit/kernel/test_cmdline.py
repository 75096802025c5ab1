# SPDX-License-Identifier: Apache-2.0
"""Arguments or a title from memory, and the allowed variables of the environment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooMtrace.kernel.cmdline import ARGUMENTS, Cmdline, parse_cmdline, parse_environment


def of(memory: bytes, size: int | None = None, end: int | None = 0) -> Cmdline:
    return parse_cmdline(memory, len(memory) if size is None else size, end)


@pytest.mark.parametrize(
    ("memory", "args"),
    [
        (b"worker\0", ("worker",)),
        (b"ruby\0-e\0loop {}\0", ("ruby", "-e", "loop {}")),
        (b"sh\0-c\0a  b\0", ("sh", "-c", "a  b")),
        (b"worker\0\0x\0", ("worker", "", "x")),
        (b"worker\0x\0\0", ("worker", "x", "")),
        (b"worker\0x\0\0\0", ("worker", "x", "", "")),
        (b"\0", ("",)),
        (b"\0\0", ("", "")),
        (b"\0x\0", ("", "x")),
        (b"a\nb\0\x1b[31m\0", ("a\nb", "\x1b[31m")),
        ("naïve\0名\0".encode(), ("naïve", "名")),
        (b"a\xff\0\xc3\0", ("a\\xff", "\\xc3")),
        (b"\xed\xa0\x80\0", ("\\xed\\xa0\\x80",)),
    ],
)
def test_arguments_are_split_at_zeros(memory, args):
    assert of(memory) == Cmdline(None, args, cut=False)


def test_a_process_without_arguments_has_an_empty_list():
    assert of(b"") == Cmdline(None, (), cut=False)


@pytest.mark.parametrize("padding", [2, 3, 100])
def test_one_string_padded_with_zeros_is_a_title(padding):
    assert of(b"nginx:-worker" + bytes(padding)) == Cmdline("nginx:-worker", None, cut=False)


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (b"worker\0", Cmdline(None, ("worker",), cut=False)),
        (b"nginx: worker process\0", Cmdline("nginx: worker process", None, cut=False)),
        (b"nginx: worker process   \0", Cmdline("nginx: worker process", None, cut=False)),
        (b"postgres: app db [local] idle\0\0\0\0", Cmdline("postgres: app db [local] idle", None, cut=False)),
        (b"worker\\x\0", Cmdline(None, ("worker\\x",), cut=False)),
        (b"a\tb\0", Cmdline(None, ("a\tb",), cut=False)),
        (b"caf\xc3\xa9 \xff\0", Cmdline("café \\xff", None, cut=False)),
    ],
)
def test_one_string_is_a_title_if_it_has_a_space(memory, expected):
    assert of(memory) == expected


def test_a_space_in_one_of_several_arguments_makes_no_title():
    assert of(b"a b\0c\0") == Cmdline(None, ("a b", "c"), cut=False)


@pytest.mark.parametrize(
    ("memory", "size", "title"),
    [
        (b"sidekiq 6.5 myapp [1 of 2 busy]\0ATH=/bin\0", 10, "sidekiq 6.5 myapp [1 of 2 busy]"),
        (b"exactly as long", 15, "exactly as long"),
        (b"exactly as long\0PATH=/bin\0", 15, "exactly as long"),
        (b"title\0      ", 12, "title"),
        (b"\xffoverflown\0x", 4, "\\xffoverflown"),
        (b"\0x", 2, ""),
    ],
)
def test_a_title_without_a_final_zero_extends_into_the_environment(memory, size, title):
    assert of(memory, size, end=ord("x")) == Cmdline(title, None, cut=False)


def test_a_title_without_an_end_in_the_memory_read_is_cut():
    assert of(b"x" * ARGUMENTS, 5000, end=ord("x")) == Cmdline("x" * 4096, None, cut=True)
    assert of(b"x" * 4095, 4095, end=ord("x")) == Cmdline("x" * 4095, None, cut=False)
    assert of(b"x" * 4095 + b"\0", 5000, end=ord("x")) == Cmdline("x" * 4095, None, cut=False)


def test_arguments_longer_than_4_kib_are_truncated_and_reported_as_such():
    memory = (b"x" * 1023 + b"\0") * 4

    assert of(memory, 4096) == Cmdline(None, ("x" * 1023,) * 4, cut=False)
    assert of(memory, 4097) == Cmdline(None, ("x" * 1023,) * 4, cut=True)
    assert of(b"a\0" + b"b" * 4094, 9000) == Cmdline(None, ("a", "b" * 4094), cut=True)


def test_a_character_that_is_cut_is_shown_by_its_bytes():
    assert of(b"a\0" + "名".encode()[:2], 9000).args == ("a", "\\xe5\\x90")


def test_a_single_string_with_spaces_that_is_cut_is_a_cut_title():
    assert of(b"a b" * 1000, 4000) == Cmdline("a b" * 1000, None, cut=True)


def test_memory_after_the_arguments_is_not_an_argument():
    assert of(b"worker\0x\0PATH=/bin\0", 9) == Cmdline(None, ("worker", "x"), cut=False)


def test_memory_with_an_unknown_last_byte_is_arguments():
    assert of(b"worker\0x\0", 9000, end=None) == Cmdline(None, ("worker", "x"), cut=True)


def test_memory_that_could_not_be_read_is_cut():
    assert of(b"", 9) == Cmdline(None, (), cut=True)


ARGUMENT = st.binary(max_size=12).map(lambda raw: raw.replace(b"\0", b""))


@given(args=st.lists(ARGUMENT, min_size=2, max_size=8), behind=st.binary(max_size=20))
def test_any_arguments_round_trip_whatever_follows_them(args, behind):
    memory = b"".join(arg + b"\0" for arg in args)
    found = parse_cmdline(memory + behind, len(memory), 0)

    if any(args[1:]) or not args[0]:
        assert found == Cmdline(None, tuple(arg.decode("utf-8", "backslashreplace") for arg in args), cut=False)
    else:  # a single string followed by zeros only looks like a padded title
        assert found == Cmdline(args[0].decode("utf-8", "backslashreplace").rstrip(" "), None, cut=False)


@given(title=ARGUMENT.filter(bool), size=st.integers(1, 16), environment_size=st.integers(13, 20))
def test_any_title_that_setproctitle_writes_round_trips(title, size, environment_size):
    """It writes over arguments and environment together, and pads with zeros."""
    memory = title + bytes(size + environment_size - len(title))
    shown = title.decode("utf-8", "backslashreplace")

    found = parse_cmdline(memory, size, memory[size - 1])

    if len(title) + 1 == size and b" " not in title:  # looks like a single argument
        assert found == Cmdline(None, (shown,), cut=False)
    else:
        assert found == Cmdline(shown if len(title) >= size else shown.rstrip(" "), None, cut=False)


@given(memory=st.binary(max_size=40), size=st.integers(0, 60), end=st.one_of(st.none(), st.integers(0, 255)))
def test_any_memory_gives_a_title_or_arguments_in_utf_8(memory, size, end):
    found = parse_cmdline(memory, size, end)

    assert (found.title is None) is not (found.args is None)
    for text in (found.title or "", *(found.args or ())):
        text.encode("utf-8")
        assert "\0" not in text


MEMORY = b"QUEUE=mailers\0CI_JOB_ID=4711\0CI_=\0PATH=/bin:/sbin\0EMPTY=\0EQ=a=b=\0broken\0\xff=\xfe\0"


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        ((), {}),
        (("QUEUE",), {"QUEUE": "mailers"}),
        (("queue", "QUEU", "UEUE", "QUEUE=", "QUEUE=mailers"), {}),
        (("CI_*",), {"CI_JOB_ID": "4711", "CI_": ""}),
        (("CI_?*",), {"CI_JOB_ID": "4711"}),
        (("?????",), {"QUEUE": "mailers", "EMPTY": ""}),
        (("[EQ]*",), {"QUEUE": "mailers", "EMPTY": "", "EQ": "a=b="}),
        (("EQ", "EQ", "E*"), {"EMPTY": "", "EQ": "a=b="}),
        (("broken",), {}),
        (("\\xff",), {"\\xff": "\\xfe"}),
    ],
)
def test_only_allowed_variables_are_included(allowed, expected):
    assert parse_environment(MEMORY, allowed) == expected


def test_all_variables_are_included_if_all_are_allowed():
    assert list(parse_environment(MEMORY, ["*"])) == ["QUEUE", "CI_JOB_ID", "CI_", "PATH", "EMPTY", "EQ", "\\xff"]


def test_the_later_of_two_variables_with_one_name_counts():
    assert parse_environment(b"A=1\0A=2\0", ("A",)) == {"A": "2"}


def test_a_variable_that_is_cut_is_left_out():
    assert parse_environment(b"A=1\0B=secret-without-an-e", ("*",)) == {"A": "1"}
    assert parse_environment(b"", ("*",)) == {}


NAME = st.text(st.characters(exclude_characters="\0=", exclude_categories=["Cs"]), max_size=6)
VALUE = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)


@given(variables=st.dictionaries(NAME, VALUE, max_size=6))
def test_any_environment_round_trips(variables):
    memory = "".join(f"{name}={value}\0" for name, value in variables.items()).encode()

    assert parse_environment(memory, ("*",)) == variables
    assert parse_environment(memory, ()) == {}


@given(memory=st.binary(max_size=60))
def test_any_memory_parses_as_an_environment(memory):
    for name, value in parse_environment(memory, ("*",)).items():
        (name + value).encode("utf-8")


def test_a_padded_title_is_complete_even_if_not_all_padding_was_read():
    assert parse_cmdline(b"title" + bytes(4091), 9000) == Cmdline("title", None, cut=False)
