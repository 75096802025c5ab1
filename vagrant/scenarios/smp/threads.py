# SPDX-License-Identifier: Apache-2.0
"""A process of 5,001 threads and one of 301 are killed together; each line has their number from before the signal."""

import _threads

_threads.main()
