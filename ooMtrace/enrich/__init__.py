# SPDX-License-Identifier: Apache-2.0
"""What user space adds to a kill. Each enricher takes a kill and returns it with more known; none ever fails."""

from __future__ import annotations

from collections.abc import Callable

from ooMtrace.record import OomKill

Enricher = Callable[[OomKill], OomKill]
