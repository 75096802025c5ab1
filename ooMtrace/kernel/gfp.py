# SPDX-License-Identifier: Apache-2.0
"""The kernel's names for the bits of a gfp_mask (include/linux/gfp_types.h, include/trace/events/mmflags.h)."""

from __future__ import annotations

BITS = {
    0x1: "__GFP_DMA",
    0x2: "__GFP_HIGHMEM",
    0x4: "__GFP_DMA32",
    0x8: "__GFP_MOVABLE",
    0x10: "__GFP_RECLAIMABLE",
    0x20: "__GFP_HIGH",
    0x40: "__GFP_IO",
    0x80: "__GFP_FS",
    0x100: "__GFP_ZERO",
    0x200: "__GFP_ATOMIC",  # until 2973d8229b78 in 6.3
    0x400: "__GFP_DIRECT_RECLAIM",
    0x800: "__GFP_KSWAPD_RECLAIM",
    0x1000: "__GFP_WRITE",
    0x2000: "__GFP_NOWARN",
    0x4000: "__GFP_RETRY_MAYFAIL",
    0x8000: "__GFP_NOFAIL",
    0x10000: "__GFP_NORETRY",
    0x20000: "__GFP_MEMALLOC",
    0x40000: "__GFP_COMP",
    0x80000: "__GFP_NOMEMALLOC",
    0x100000: "__GFP_HARDWALL",
    0x200000: "__GFP_THISNODE",
    0x400000: "__GFP_ACCOUNT",
}
"""Unchanged from 5.1 on; Linux 4.19 had other values, and has no type information to trace with."""

RECLAIM = 0x400 | 0x800
COMPOSITES = {
    RECLAIM | 0x40 | 0x80 | 0x100000 | 0x2 | 0x8: "GFP_HIGHUSER_MOVABLE",
    RECLAIM | 0x40 | 0x80 | 0x100000 | 0x2: "GFP_HIGHUSER",
    RECLAIM | 0x40 | 0x80 | 0x100000: "GFP_USER",
    RECLAIM | 0x40 | 0x80 | 0x400000: "GFP_KERNEL_ACCOUNT",
    RECLAIM | 0x40 | 0x80: "GFP_KERNEL",
    RECLAIM | 0x40: "GFP_NOFS",
    RECLAIM: "GFP_NOIO",
    0x800 | 0x20: "GFP_ATOMIC",
    0x800: "GFP_NOWAIT",
}
"""Largest first: the kernel names a mask by the first of them that it contains, then by the bits left over."""


def gfp_flags(mask: int) -> tuple[str, ...]:
    """Name the bits of a mask; bits without a known name come last, together, as a hexadecimal number."""
    names = []
    for bits, name in COMPOSITES.items():
        if mask & bits == bits:
            names.append(name)
            mask &= ~bits
            break
    for bit, name in BITS.items():
        if mask & bit:
            names.append(name)
            mask &= ~bit
    return (*names, hex(mask)) if mask else tuple(names)
