# SPDX-License-Identifier: Apache-2.0
"""A slow enricher, applied as an enricher that is waited for."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

from ooMtrace.enrich import Enricher, Later, SlowEnricher
from ooMtrace.record import OomKill


def at_once(enricher: SlowEnricher, wait_until: Callable[[int], None] | None = None) -> Enricher:
    """Return an enricher that looks up in a thread, as the tracer does, and waits for the answer.

    Args:
        enricher: The slow one.
        wait_until: Lets the time (CLOCK_MONOTONIC ns) pass at which it is to be asked again; without, it is skipped.
    """

    def enrich(kill: OomKill) -> OomKill:
        enricher.prepare(kill)
        known = enricher.add_known(kill)
        while known is None:
            found: list[OomKill | Later] = []
            thread = Thread(target=lambda: found.append(enricher.look_up(kill)))  # noqa: B023 (it ends here)
            thread.start()
            thread.join(60)
            if isinstance(found[0], OomKill):
                known = found[0]
            elif wait_until is None:
                known = enricher.skip(kill)
            else:
                wait_until(found[0].at_ns)
        return known

    return enrich
