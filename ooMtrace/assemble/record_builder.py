# SPDX-License-Identifier: Apache-2.0
"""Builds records: adds what is the same in every line, and learns which memory counters this kernel uses. No I/O."""

from __future__ import annotations

import re

from ooMtrace import record
from ooMtrace.assemble.attribution import UNKNOWN_RSS, Attribution, Symbols, attribute
from ooMtrace.assemble.incident import Incident, VictimDeath
from ooMtrace.assemble.to_record import LineContext, to_record
from ooMtrace.events import Victim
from ooMtrace.settings import Level

EXACT_SUMS_SINCE = 7
"""Linux 7.x: the OOM killer computes badness and logs with every CPU's part of the counters (get_mm_rss_sum(), 2026).
Stable series may have it, too."""


class RecordBuilder:
    """Turns a victim into a record.

    Args:
        host: The machine.
        symbols: Address ranges of kernel functions.
        level: The level reached.
        env: Names of environment variables that may be included, globs allowed.
    """

    def __init__(self, host: record.Host, symbols: Symbols, level: Level, env: tuple[str, ...]) -> None:
        self._host = host
        self._symbols = symbols
        self._level = level
        self._env = env
        # A guess from the version until a total of the kernel's has confirmed one of the readings.
        self._exact_sums = _major(host.kernel or "") >= EXACT_SUMS_SINCE

    def build(self, incident: Incident, death: VictimDeath) -> record.OomKill:
        """Return the record of a victim, as far as it is known now."""
        attribution = attribute(death.event, self._symbols, death.snapshot, summed=self._exact_sums)
        self._learn(attribution, death.event.victim)
        line = LineContext(incident.id, death.verdict, incident.killed, death.ranking, death.context, self._env)
        return to_record(death.event, attribution, line, death.snapshot, self._host, self._level)

    def _learn(self, attribution: Attribution, victim: Victim) -> None:
        """Note which of two different readings the kernel's total confirms."""
        known = UNKNOWN_RSS not in (victim.rss, victim.rss_sum)
        if attribution.points.exact and known and victim.rss != victim.rss_sum:
            self._exact_sums = attribution.rss == victim.rss_sum


def _major(release: str) -> int:
    found = re.match("[0-9]{1,9}", release)
    return int(found[0]) if found else 0
