"""Boots oomtrace's scenarios on real kernels in QEMU, one guest per cell of the matrix."""
