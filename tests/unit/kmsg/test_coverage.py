# SPDX-License-Identifier: Apache-2.0
"""What of a log was not understood: it is counted, and the first of it is kept."""

from __future__ import annotations

from ooMtrace.kmsg.coverage import MAX_EXAMPLE, MAX_EXAMPLES, Coverage


def test_all_unread_kills_are_counted_and_the_first_ones_are_kept_in_part():
    coverage = Coverage()
    texts = [f"Killed process {number} (a) {'x' * MAX_EXAMPLE}" for number in range(MAX_EXAMPLES + 2)]
    for text in texts:
        coverage.add_unrecognized(text)

    assert coverage.unrecognized_kills == MAX_EXAMPLES + 2
    assert coverage.examples == [text[:MAX_EXAMPLE] for text in texts[:MAX_EXAMPLES]]
