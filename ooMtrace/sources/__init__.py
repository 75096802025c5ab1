# SPDX-License-Identifier: Apache-2.0
"""Where kills come from while they happen: the probes or the kernel log, behind one protocol."""
