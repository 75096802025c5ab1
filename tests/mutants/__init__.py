# SPDX-License-Identifier: Apache-2.0
"""Faults put in on purpose, each with the test that must notice it."""
