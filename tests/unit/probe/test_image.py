# SPDX-License-Identifier: Apache-2.0
"""Compiled programs as bytes: what is written is read back, and nothing else is accepted."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from ooMtrace.errors import ProbeError
from ooMtrace.probe.image import (
    PLACEHOLDER,
    Image,
    MapDefinition,
    Program,
    decode_image,
    encode_image,
    find_relocations,
)

KEY = bytes(range(32))
LOAD_MAP_7 = bytes.fromhex("1811000007000000") + bytes(8)
LOAD_MAP_0 = bytes.fromhex("1811000000000000") + bytes(8)
MOVE = bytes.fromhex("bf16000000000000")
LOAD_CONSTANT = bytes.fromhex("1801000007000000") + bytes.fromhex("1811000009000000")
EXIT = bytes.fromhex("9500000000000000")
LOAD_ZERO = bytes.fromhex("1802000000000000") + bytes(8)
PROGRAM = Program("on_mark", LOAD_MAP_0 + LOAD_ZERO + EXIT, ((0, 1),), ((16, 0),))
IMAGE = Image((MapDefinition("events", 4, 4, 4, 2, 0), MapDefinition("kills", 2, 4, 16, 1, 128)), (PROGRAM,), ("KILL",))
DATA = encode_image(IMAGE, KEY)


def test_an_image_is_read_back():
    assert decode_image(DATA, KEY) == IMAGE


def test_every_flipped_bit_is_refused():
    for position in range(len(DATA)):
        for bit in range(8):
            flipped = bytearray(DATA)
            flipped[position] ^= 1 << bit
            with pytest.raises(ValueError, match=r"."):
                decode_image(bytes(flipped), KEY)


def test_every_truncation_and_trailing_bytes_are_refused():
    for data in (*(DATA[:size] for size in range(len(DATA))), DATA + b"\0", DATA + bytes(1 << 20)):
        with pytest.raises(ValueError, match=r"."):
            decode_image(data, KEY)


def test_another_key_is_refused():
    with pytest.raises(ValueError, match="another kernel"):
        decode_image(DATA, bytes(32))


@pytest.mark.parametrize(("offset", "index"), [(8, 1), (16, 1), (4, 1), (1 << 20, 1), (0, 2), (32, 1)])
def test_a_relocation_outside_of_the_code_or_the_maps_is_refused(offset, index):
    wrong = Image(IMAGE.maps, (replace(PROGRAM, maps=((offset, index),)),), IMAGE.addresses)
    with pytest.raises(ValueError, match="relocation"):
        decode_image(encode_image(wrong, KEY), KEY)


@pytest.mark.parametrize(("offset", "index"), [(0, 0), (24, 0), (20, 0), (1 << 20, 0), (16, 1), (32, 0)])
def test_an_address_outside_of_the_code_or_the_names_is_refused(offset, index):
    wrong = Image(IMAGE.maps, (replace(PROGRAM, addresses=((offset, index),)),), IMAGE.addresses)
    with pytest.raises(ValueError, match="relocation"):
        decode_image(encode_image(wrong, KEY), KEY)


@pytest.mark.parametrize("code", [b"", EXIT[:4], EXIT + EXIT[:7]])
def test_code_that_is_not_whole_instructions_is_refused(code):
    wrong = Image((), (Program("f", code),))
    with pytest.raises(ValueError, match="whole instructions"):
        decode_image(encode_image(wrong, KEY), KEY)


def test_descriptors_of_maps_are_taken_out_and_put_in_and_constants_are_kept():
    found = find_relocations("f", LOAD_CONSTANT + LOAD_MAP_7 + EXIT, {7: 1}, 1)

    assert (found.maps, found.addresses) == (((16, 1),), ())
    assert found.relocated([5, 7], []) == LOAD_CONSTANT + LOAD_MAP_7 + EXIT
    assert found.relocated([5, 9], [])[20:24] == bytes([9, 0, 0, 0])


def test_what_is_stored_does_not_depend_on_descriptors_and_is_found_after_any_number_of_instructions():
    found = find_relocations("f", 3 * MOVE + LOAD_MAP_7 + MOVE + LOAD_MAP_7 + EXIT, {7: 1}, 1)

    assert found.maps == ((24, 1), (48, 1))
    assert found.code == 3 * MOVE + LOAD_MAP_0 + MOVE + LOAD_MAP_0 + EXIT


def load(value: int) -> bytes:
    return struct.pack("<BBhIQ", 0x18, 2, 0, value & 0xFFFFFFFF, value >> 32 << 32)


def test_placeholders_are_taken_out_and_addresses_are_put_in():
    names = PLACEHOLDER + 1, PLACEHOLDER, PLACEHOLDER + 2
    found = find_relocations("f", b"".join(map(load, names)) + EXIT, {}, 2)
    addresses = 0xFFFFFFFF812B4560, 0xFFFF800080010203

    assert found.addresses == ((0, 1), (16, 0))  # the third is no name's
    assert found.code == load(0) + load(0) + load(names[2]) + EXIT
    assert found.relocated([], addresses) == load(addresses[1]) + load(addresses[0]) + load(names[2]) + EXIT


def test_no_name_of_a_process_is_a_placeholder():
    """Macros hold such names as numbers: 15 bytes, then zeros."""
    for order in ("little", "big"):
        assert b"\0" in PLACEHOLDER.to_bytes(8, order)[:6].strip(b"\0")


def test_code_that_refers_to_an_unknown_map_is_refused():
    with pytest.raises(ProbeError):
        find_relocations("f", LOAD_MAP_7, {8: 0}, 0)
