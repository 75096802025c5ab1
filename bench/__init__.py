# SPDX-License-Identifier: Apache-2.0
"""What oomtrace costs, measured beside other tools on the same kills: `make bench` and `make bench-host`."""
