# SPDX-License-Identifier: Apache-2.0
"""The BPF programs: compiled, attached, read and decoded."""
