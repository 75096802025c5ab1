# SPDX-License-Identifier: Apache-2.0
"""The kernel's names for the bits of a gfp_mask (include/linux/gfp_types.h, include/trace/events/mmflags.h)."""

from __future__ import annotations

from functools import lru_cache

BITS = {
    0x2: "__GFP_HIGHMEM",
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
"""Unchanged since 5.1. Linux 4.19 had other values, but has no BTF and cannot be traced."""

RECLAIM = 0x400 | 0x800
KERNEL = RECLAIM | 0x40 | 0x80
USER = KERNEL | 0x100000
HIGHUSER = USER | 0x2
MOVABLE = HIGHUSER | 0x8
TRANSHUGE_LIGHT = (MOVABLE | 0x40000 | 0x80000 | 0x2000) & ~RECLAIM

COMPOSITES = {
    TRANSHUGE_LIGHT | 0x400: "GFP_TRANSHUGE",
    TRANSHUGE_LIGHT: "GFP_TRANSHUGE_LIGHT",
    MOVABLE: "GFP_HIGHUSER_MOVABLE",
    HIGHUSER: "GFP_HIGHUSER",
    USER: "GFP_USER",
    KERNEL | 0x400000: "GFP_KERNEL_ACCOUNT",
    KERNEL: "GFP_KERNEL",
    RECLAIM | 0x40: "GFP_NOFS",
    0x800 | 0x200 | 0x20: "GFP_ATOMIC",  # until 2973d8229b78 in 6.3
    0x800 | 0x20: "GFP_ATOMIC",
    RECLAIM: "GFP_NOIO",
    0x1: "GFP_DMA",
    0x4: "GFP_DMA32",
}
"""In the order of __def_gfpflag_names. GFP_NOWAIT is left out because only newer kernels include __GFP_NOWARN: its bits
are named instead."""


@lru_cache(64)  # few masks occur
def gfp_flags(mask: int) -> tuple[str, ...]:
    """Name the bits of a mask as the kernel's format_flags() does.

    A name is used if all its bits are set and not yet named. Bits without a name come last, combined into one
    hexadecimal number.
    """
    names = []
    for bits, name in (*COMPOSITES.items(), *BITS.items()):
        if mask & bits == bits:
            names.append(name)
            mask &= ~bits
    return (*names, hex(mask)) if mask else tuple(names)
