# SPDX-License-Identifier: Apache-2.0
"""Facts about a kernel's build as bytes: what is written is read back, and nothing else is accepted."""

from __future__ import annotations

import pytest

from ooMtrace.kernel.build import Build, Types
from ooMtrace.kernel.offsets import Offsets
from ooMtrace.probe.build_file import decode_build, encode_build
from ooMtrace.probe.image import seal, unseal

KEY = bytes(range(32))
FULL = Build(
    Types("", Offsets({"OFF_A": 8, "OFF_B": -1}, ("task_struct.mm",)), ("task_struct *", "uid_t"), ("cgroup *",), 7),
    {"oom_kill_process": (0x27A0, 0x2930)},
)


@pytest.mark.parametrize("build", [FULL, Build(Types(), {}), Build(Types(mark_victim=()), {"a": (0, 1)})])
def test_it_is_read_back(build):
    assert decode_build(encode_build(build, KEY), KEY) == build


def test_every_flipped_bit_is_refused():
    data = encode_build(FULL, KEY)
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        with pytest.raises(ValueError, match=r"."):
            decode_build(bytes(flipped), KEY)


def test_every_truncation_and_trailing_bytes_are_refused():
    payload = unseal(encode_build(FULL, KEY), KEY)
    for other in (*(payload[:size] for size in range(len(payload))), payload + b"\0", b"\xff" * 100):
        with pytest.raises(ValueError, match=r"."):
            decode_build(seal(other, KEY), KEY)
