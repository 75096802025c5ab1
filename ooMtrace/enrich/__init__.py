# SPDX-License-Identifier: Apache-2.0
"""What user space adds to a kill. An enricher takes a record and returns it with more facts; it never raises."""

from __future__ import annotations

from collections.abc import Callable

from ooMtrace.record import OomKill

Enricher = Callable[[OomKill], OomKill]
