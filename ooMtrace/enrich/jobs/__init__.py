# SPDX-License-Identifier: Apache-2.0
"""Whose worker a victim was: one rule for each system that runs jobs."""
