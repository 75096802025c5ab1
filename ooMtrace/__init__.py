# SPDX-License-Identifier: Apache-2.0
"""oomtrace: the flight recorder for Linux OOM kills."""

__version__ = "0.1.0"
