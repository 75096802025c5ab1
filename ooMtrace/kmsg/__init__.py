# SPDX-License-Identifier: Apache-2.0
"""The kernel log's own reports of out-of-memory kills: text in, `OomKill` out, without any probe."""
