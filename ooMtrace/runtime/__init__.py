# SPDX-License-Identifier: Apache-2.0
"""The running tracer: start-up, event loop, output, and what keeps it alive and unprivileged."""
