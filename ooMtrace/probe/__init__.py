# SPDX-License-Identifier: Apache-2.0
"""The kernel side: compiled, attached, read and decoded."""
