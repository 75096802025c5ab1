# SPDX-License-Identifier: Apache-2.0
"""A line explained for people: what happened, why, and what to do about it. Pure."""
