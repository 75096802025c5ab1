# SPDX-License-Identifier: Apache-2.0
"""From a record to bytes (encode), and from lines to where they go (sinks)."""
