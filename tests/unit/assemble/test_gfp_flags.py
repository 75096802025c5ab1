# SPDX-License-Identifier: Apache-2.0
"""Allocation flags have the names that the kernel log prints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooMtrace.assemble.gfp_flags import BITS, COMPOSITES, gfp_flags


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        # as kernel logs print them: gfp_mask=0xcc0(GFP_KERNEL)
        (0xCC0, "GFP_KERNEL"),
        (0x100CCA, "GFP_HIGHUSER_MOVABLE"),
        (0x140CCA, "GFP_HIGHUSER_MOVABLE|__GFP_COMP"),
        (0x101CCA, "GFP_HIGHUSER_MOVABLE|__GFP_WRITE"),
        (0x100DCA, "GFP_HIGHUSER_MOVABLE|__GFP_ZERO"),
        (0x100CC2, "GFP_HIGHUSER"),
        (0x100CC0, "GFP_USER"),
        (0x400CC0, "GFP_KERNEL_ACCOUNT"),
        (0x400DC0, "GFP_KERNEL_ACCOUNT|__GFP_ZERO"),
        (0xDC0, "GFP_KERNEL|__GFP_ZERO"),
        (0xC40, "GFP_NOFS"),
        (0xC00, "GFP_NOIO"),
        (0x820, "GFP_ATOMIC"),
        (0xA20, "GFP_ATOMIC"),
        (0x1C24CA, "GFP_TRANSHUGE"),
        (0x1C20CA, "GFP_TRANSHUGE_LIGHT"),
        (0x1C28CA, "GFP_TRANSHUGE_LIGHT|__GFP_KSWAPD_RECLAIM"),
        (0xCC1, "GFP_KERNEL|GFP_DMA"),
        (0xCC4, "GFP_KERNEL|GFP_DMA32"),
        (0xCE0, "GFP_KERNEL|__GFP_HIGH"),
        (0xC20, "GFP_ATOMIC|__GFP_DIRECT_RECLAIM"),
        (0x500CCA, "GFP_HIGHUSER_MOVABLE|__GFP_ACCOUNT"),
        # GFP_NOWAIT on some kernels, and not on others
        (0x800, "__GFP_KSWAPD_RECLAIM"),
        (0x2800, "__GFP_KSWAPD_RECLAIM|__GFP_NOWARN"),
        (0x6000C0, "__GFP_IO|__GFP_FS|__GFP_THISNODE|__GFP_ACCOUNT"),
        (0x1, "GFP_DMA"),
        (0x0, ""),
        (0x800000, "0x800000"),
        (0x3000CC0, "GFP_KERNEL|0x3000000"),
        (0x80000CC0, "GFP_KERNEL|0x80000000"),
    ],
)
def test_flags_have_the_kernels_names(mask, names):
    assert "|".join(gfp_flags(mask)) == names


@given(st.integers(0, (1 << 32) - 1))
def test_every_bit_is_named_exactly_once(mask):
    values = {name: bits for bits, name in (*BITS.items(), *COMPOSITES.items())}
    values["GFP_ATOMIC"] |= mask & 0x200  # part of it until 6.3

    bits = [values[name] if name in values else int(name, 16) for name in gfp_flags(mask)]

    assert sum(bits) == mask
    for i, named in enumerate(bits):
        assert not any(named & other for other in bits[i + 1 :])
