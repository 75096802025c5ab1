# SPDX-License-Identifier: Apache-2.0
"""The second source: the kernel log's own reports of out-of-memory kills. Text in, `OomKill` out; nothing is probed."""
