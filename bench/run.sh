#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a guest of the benchmark runs in place of the scenarios: installs oomtrace as a user would, and measures.
echo "booted after $(cut -d" " -f1 /proc/uptime) s"
/opt/oomtrace/bin/pip install --quiet --no-index --no-deps /payload/*.whl
PYTHONPATH=/payload choom -n 0 -- /opt/oomtrace/bin/python -B -m bench.guest /out /payload 2>&1 </dev/null | tee /out/bench.log
