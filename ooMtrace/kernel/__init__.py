# SPDX-License-Identifier: Apache-2.0
"""The running kernel: what it offers, what to attach there, and its clocks and counters."""
