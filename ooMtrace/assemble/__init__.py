# SPDX-License-Identifier: Apache-2.0
"""Turns probe events into one record per killed process and one incident per run of the OOM killer."""
