# SPDX-License-Identifier: Apache-2.0
"""BTF: what is found in it, and that corrupt data raises only BtfError."""

from __future__ import annotations

import re
import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.btf_builder import BtfBuilder, assemble, sections

from ooMtrace.errors import BtfError
from ooMtrace.kernel.btf import Btf, Member

NAMES = ("outer", "either", "flags", "colour", "kill", "ring", "btf_trace_mark_victim", "btf_trace_empty")


def built() -> bytes:
    """Return BTF with one type of every kind."""
    types = BtfBuilder()
    integer = types.integer(4)
    long = types.integer(8, "long")
    alias = types.typedef("s64", types.const(types.typedef("__s64", long)))
    deep = types.struct("", 16, [("x", integer, 0), ("y", alias, 8)])
    unnamed = types.union("", 16, [("", deep, 0), ("z", long, 0)])
    named = types.struct("inner", 24, [("first", long, 0), ("second", alias, 16)])
    outer = types.struct(
        "outer",
        128,
        [
            ("number", integer, 0),
            ("", unnamed, 8),
            ("row", types.array(types.array(integer, 3), 4), 24),
            ("inner", types.typedef("inner_t", named), 72),
            ("pointer", types.pointer(named), 104),
        ],
    )
    types.union("either", 8, [("a", long, 0), ("b", integer, 0)])
    types.struct_with_bitfields(
        "flags", 8, [("low", integer, 0, 3), ("high", integer, 37, 1), ("plain", integer, 32, 0)]
    )
    types.enum("colour", {"RED": 0, "GREEN": 7, "NONE": -1})
    task = types.struct("task_struct", 8, [])
    uid = types.typedef("uid_t", integer)
    types.function("kill", types.prototype(types.pointer(task)))
    arguments = types.prototype(types.pointer(0), types.pointer(task), uid, types.pointer(types.const(outer)))
    types.typedef("btf_trace_mark_victim", types.pointer(arguments))
    types.typedef("btf_trace_empty", types.pointer(types.prototype(types.pointer(0))))
    return types.blob()


BLOB = built()


@pytest.fixture
def btf() -> Btf:
    return Btf(BLOB, NAMES)


@pytest.mark.parametrize(
    ("path", "offset", "size"),
    [
        ("outer.number", 0, 4),
        ("outer.x", 8, 4),
        ("outer.y", 16, 8),
        ("outer.z", 8, 8),
        ("outer.row", 24, 48),
        ("outer.inner", 72, 24),
        ("outer.inner.first", 72, 8),
        ("outer.inner.second", 88, 8),
        ("outer.pointer", 104, 8),
        ("either.b", 0, 4),
        ("flags.low", 0, 4),
        ("flags.high", 4, 4),
        ("flags.plain", 4, 4),
    ],
)
def test_a_member_is_found_at_any_depth(btf, path, offset, size):
    member = btf.member(path)

    assert member is not None
    assert (member.offset, member.size) == (offset, size)


@pytest.mark.parametrize(
    "path",
    [
        "outer",
        "outer.none",
        "outer.inner.third",
        "outer.number.x",
        "outer.pointer.first",
        "unknown.number",
        "inner.first",
    ],
)
def test_a_member_that_does_not_exist_is_none(btf, path):
    assert btf.member(path) is None


def test_sizes_are_those_of_structures_and_unions(btf):
    assert btf.size("outer") == 128
    assert btf.size("either") == 8
    assert btf.size("colour") is None
    assert btf.size("unknown") is None


def test_enumerators_have_their_values_including_negative_ones(btf):
    assert btf.enumerator("colour", "RED") == 0
    assert btf.enumerator("colour", "GREEN") == 7
    assert btf.enumerator("colour", "NONE") == -1
    assert btf.enumerator("colour", "BLUE") is None
    assert btf.enumerator("outer", "RED") is None


def test_a_function_has_the_id_of_its_type():
    types = BtfBuilder()
    nothing = types.prototype()
    expected = types.function("kill", nothing)

    btf = Btf(types.blob(), ["kill"])

    assert expected == 2
    assert btf.function("kill") == 2
    assert btf.function("spare") is None


def test_a_tracepoint_has_the_types_of_its_arguments_without_the_private_data(btf):
    assert btf.tracepoint_arguments("mark_victim") == ("task_struct *", "uid_t", "outer *")
    assert btf.tracepoint_arguments("empty") == ()
    assert btf.tracepoint_arguments("unknown") is None


def test_only_the_requested_names_are_indexed():
    btf = Btf(BLOB, ["either"])

    assert btf.size("either") == 8
    assert btf.size("outer") is None


def test_the_first_of_two_types_with_one_name_counts():
    types = BtfBuilder()
    types.struct("twin", 8, [])
    types.struct("twin", 16, [])

    assert Btf(types.blob(), ["twin"]).size("twin") == 8


def test_a_part_of_a_name_does_not_match():
    types = BtfBuilder()
    types.struct("task_struct_of_others", 8, [])
    types.struct("my_task_struct", 16, [])
    types.struct("task_struct", 24, [])

    assert Btf(types.blob(), ["task_struct"]).size("task_struct") == 24


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (b"", "BTF data is truncated"),
        (b"\x7fELF" + bytes(60), "not BTF data, magic 0x457f and version 76"),
        (struct.pack(">HB", 0xEB9F, 1) + BLOB[3:], "not BTF data, magic 0x9feb and version 1"),
        (BLOB[:2] + b"\2" + BLOB[3:], "not BTF data, magic 0xeb9f and version 2"),
        (BLOB[:-1], "BTF data is truncated"),
    ],
)
def test_data_that_is_not_complete_btf_is_rejected_with_the_reason(data, fact):
    with pytest.raises(BtfError) as caught:
        Btf(data, NAMES)

    assert re.fullmatch(fact, caught.value.fact)


def test_an_error_states_the_file(tmp_path):
    missing, broken = tmp_path / "missing", tmp_path / "broken"
    broken.write_bytes(BLOB[:-1])

    with pytest.raises(BtfError) as of_missing:
        Btf.load(missing, NAMES)
    with pytest.raises(BtfError) as of_broken:
        Btf.load(broken, NAMES)

    assert of_missing.value.fact == f"{missing}: No such file or directory"
    assert of_broken.value.fact == f"{broken}: BTF data is truncated"


def test_a_file_is_read_like_its_bytes(tmp_path):
    path = tmp_path / "vmlinux"
    path.write_bytes(BLOB)

    assert Btf.load(path, NAMES).member("outer.y") == Btf(BLOB, NAMES).member("outer.y")


def look_up_everything(data: bytes) -> list[Any]:
    """Do every look-up there is."""
    btf = Btf(data, NAMES)
    members = ("outer.inner.second", "outer.row", "outer.none", "either.b", "flags.high", "ring.next.next", "ring.far")
    return [
        *(btf.member(path) for path in members),
        *(btf.size(name) for name in NAMES),
        *(btf.enumerator("colour", name) for name in ("GREEN", "BLUE")),
        btf.function("kill"),
        *(btf.tracepoint_arguments(name) for name in ("mark_victim", "empty")),
    ]


def test_complete_data_answers_every_look_up():
    assert look_up_everything(BLOB)[0] == Member(88, 8, look_up_everything(BLOB)[0].type_id)


def test_every_truncation_is_rejected():
    for length in range(len(BLOB)):
        with pytest.raises(BtfError):
            Btf(BLOB[:length], NAMES)


def test_truncated_types_raise_only_btf_error():
    types, strings = sections(BLOB)
    for length in range(len(types)):
        with suppress(BtfError):
            look_up_everything(assemble(types[:length], strings))


def test_truncated_strings_raise_only_btf_error():
    types, strings = sections(BLOB)
    for length in range(len(strings)):
        with suppress(BtfError):
            look_up_everything(assemble(types, strings[:length]))


@settings(deadline=None)
@given(data=st.binary(max_size=200))
def test_random_bytes_raise_only_btf_error(data):
    with suppress(BtfError):
        look_up_everything(data)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(BLOB) - 25), st.sampled_from((0, 1, 2, 4, 8, 16, 64, 255))), min_size=1, max_size=4
    )
)
@example(changes=[(0, 255)])
def test_corrupt_types_raise_only_btf_error(changes):
    damaged = bytearray(BLOB)
    for at, value in changes:
        damaged[24 + at] = value

    with suppress(BtfError):
        look_up_everything(bytes(damaged))


def ring(kind: str) -> bytes:
    """Return BTF with a type that contains itself."""
    types = BtfBuilder()
    if kind == "typedef":
        types.typedef("loop", 1)
        types.struct("ring", 8, [("next", 1, 0)])
    elif kind == "array":
        types.array(1, 1)
        types.struct("ring", 8, [("next", 1, 0)])
    elif kind == "unnamed struct":
        types.struct("ring", 8, [("", 1, 0)])
    elif kind == "pointer":
        types.typedef("btf_trace_empty", types.pointer(types.prototype(0, types.pointer(1))))
    return types.blob()


@pytest.mark.parametrize("kind", ["typedef", "array", "unnamed struct", "pointer"])
def test_types_that_contain_themselves_are_rejected(kind):
    data = ring(kind)

    with pytest.raises(BtfError):
        look_up_everything(data)


def test_exponentially_nested_types_are_rejected():
    types = BtfBuilder()
    inner = types.struct("", 8, [])
    for _ in range(30):
        inner = types.struct("", 8, [("", inner, 0), ("", inner, 0)])
    types.struct("ring", 8, [("", inner, 0)])

    with pytest.raises(BtfError, match=r"^BTF data is corrupt, too many types are nested$"):
        look_up_everything(types.blob())
