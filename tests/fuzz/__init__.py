# SPDX-License-Identifier: Apache-2.0
"""Fuzzing of all that reads what somebody else wrote: what is promised (targets.py), and a long run of it."""
