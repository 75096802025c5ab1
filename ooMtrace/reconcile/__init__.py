# SPDX-License-Identifier: Apache-2.0
"""Every kill that the kernel has counted: delivered, backfilled from its log, or reported as lost."""
