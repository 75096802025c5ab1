# SPDX-License-Identifier: Apache-2.0
"""From probe events to one record for each killed process and one incident for each OOM."""
