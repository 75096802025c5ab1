# SPDX-License-Identifier: Apache-2.0
"""The last scenario of the boot."""

import _ending

_ending.main()
