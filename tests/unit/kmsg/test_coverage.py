# SPDX-License-Identifier: Apache-2.0
"""What of a log was understood: which lines are counted, and which period they cover."""

from __future__ import annotations

from ooMtrace.kmsg.coverage import MAX_EXAMPLE, MAX_EXAMPLES, Coverage
from ooMtrace.kmsg.formats import LogLine


def test_every_line_of_the_kernel_counts_and_those_with_a_time_are_the_period():
    coverage = Coverage()
    lines = [
        LogLine("no time"),
        LogLine("by the kernel's clock", ktime=1),
        LogLine("neither the first nor the last", ktime=2, wall=7),
        LogLine("by the log's clock", wall=9),
        LogLine("no time again"),
    ]
    for line in lines:
        coverage.add(line)

    assert coverage.kernel_lines == 5
    assert (coverage.first, coverage.last) == (lines[1], lines[3])
    assert coverage.unrecognized_kills == 0


def test_all_unread_kills_are_counted_and_the_first_ones_are_kept_in_part():
    coverage = Coverage()
    texts = [f"Killed process {number} (a) {'x' * MAX_EXAMPLE}" for number in range(MAX_EXAMPLES + 2)]
    for text in texts:
        coverage.add_unrecognized(text)

    assert coverage.unrecognized_kills == MAX_EXAMPLES + 2
    assert coverage.examples == [text[:MAX_EXAMPLE] for text in texts[:MAX_EXAMPLES]]
    assert coverage.kernel_lines == 0
