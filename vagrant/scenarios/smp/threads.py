# SPDX-License-Identifier: Apache-2.0
"""A process of 5,001 threads is killed, and a group of two with fewer; each line has their number before the signal."""

import _threads

_threads.main()
