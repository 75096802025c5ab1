# SPDX-License-Identifier: Apache-2.0
"""The kills of a kernel log, without the OOMs that killed nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from ooMtrace.kmsg.coverage import Coverage
from ooMtrace.kmsg.scanner import records
from ooMtrace.kmsg.to_record import Origin
from ooMtrace.record import OomKill


def kills(
    blocks: Iterable[bytes], origin: Origin, latest: datetime, coverage: Coverage | None = None
) -> Iterator[OomKill]:
    """Yield only the kills of `records`."""
    return (found for found in records(blocks, origin, latest, coverage) if isinstance(found, OomKill))
