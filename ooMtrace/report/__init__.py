# SPDX-License-Identifier: Apache-2.0
"""Many lines, counted, and shown as one HTML page. Pure."""
