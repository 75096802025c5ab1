# SPDX-License-Identifier: Apache-2.0
"""Notifies the service manager of ready, status and end: sd_notify(3), of which this is all that is needed."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress

from ooMtrace.kernel.clock import Clock

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")

STATUS_INTERVAL_NS = 1_000_000_000
"""A status that changes more often, as in a storm of kills, is sent once in this time."""

TIMEOUT_S = 1.0
"""How long to wait for a queue that is full; a keep-alive and a status do not wait."""


class Notifier:
    """Sends to the socket that the service manager has named; without one, it does nothing.

    Args:
        environment: Has the variables that the service manager has set; they are removed, for they are this process's.
        status: Returns one line about the state of the work.
        clock: Measures the intervals.
    """

    def __init__(
        self, environment: MutableMapping[str, str], status: Callable[[], str], *, clock: Clock = time
    ) -> None:
        address, period_us, pid = (environment.pop(name, "") for name in VARIABLES)
        is_usable = address.startswith(("/", "@"))
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if is_usable else None
        self._status = status
        self._clock = clock
        is_watched = is_usable and pid in ("", str(os.getpid())) and period_us.isascii() and period_us.isdigit()
        self._interval_ns = int(period_us[:20]) * 1000 // 2 if is_watched else 0  # twice a period, as systemd advises
        self._alive_due = self._status_due = 0
        self._sent_status = ""

    def ready(self) -> None:
        """Say that the probes are attached, at the start and after each reload."""
        if self._socket is None:
            return
        self._sent_status = self._status()
        self._send(f"READY=1\nSTATUS={self._sent_status}", TIMEOUT_S)

    def reloading(self) -> None:
        """Say that the configuration is read again; `ready` ends that."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={self._clock.monotonic_ns() // 1000}", TIMEOUT_S)

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1", TIMEOUT_S)

    def pulse(self) -> None:
        """Send what is due: that the main loop is alive, and a status that has changed."""
        if self._socket is None:
            return
        now = self._clock.monotonic_ns()
        if self._interval_ns and now >= self._alive_due:
            self._alive_due = now + self._interval_ns
            self._send("WATCHDOG=1", 0)
        if now >= self._status_due and (status := self._status()) != self._sent_status:
            self._sent_status, self._status_due = status, now + STATUS_INTERVAL_NS
            self._send(f"STATUS={status}", 0)

    def timeout_ms(self) -> int | None:
        """Return how long `pulse` may be left uncalled at most; None: until something else happens."""
        if self._socket is None:
            return None
        dues = [self._alive_due] if self._interval_ns else []
        if self._status() != self._sent_status:
            dues.append(self._status_due)
        now = self._clock.monotonic_ns()
        return max(0, min(-(-(due - now) // 1_000_000) for due in dues)) if dues else None

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()

    def _send(self, text: str, timeout_s: float) -> None:
        if self._socket is None:
            return
        with suppress(OSError):  # the service manager restarts, or its queue is full
            self._socket.settimeout(timeout_s)
            self._socket.sendto(text.encode(), self._address)
