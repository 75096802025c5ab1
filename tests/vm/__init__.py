# SPDX-License-Identifier: Apache-2.0
"""Boots oomtrace's scenarios on real kernels in QEMU, one guest per cell of the matrix."""
