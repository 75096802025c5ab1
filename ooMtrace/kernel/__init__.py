# SPDX-License-Identifier: Apache-2.0
"""What the running kernel is and offers, and what to make of it."""
