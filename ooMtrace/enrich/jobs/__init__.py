# SPDX-License-Identifier: Apache-2.0
"""Recognizes workers of job systems. A rule is data (rule.py); match.py applies the rules in the order of rules.py."""
