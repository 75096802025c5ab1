# SPDX-License-Identifier: Apache-2.0
"""The last scenario of the boot."""

import _ending

_ending.main(repairs=True)  # a CPU that comes online has no buffer for a moment
