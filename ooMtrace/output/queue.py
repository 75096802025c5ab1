# SPDX-License-Identifier: Apache-2.0
"""What Outputs needs of a queue in front of an output."""

from __future__ import annotations

from typing import Protocol


class Queue(Protocol):
    """A bounded queue of whole messages. Nothing blocks."""

    @property
    def name(self) -> str:
        """The name of the output for messages."""

    @property
    def held(self) -> int:
        """The number of messages that are queued."""

    def start(self) -> None:
        """Begin to deliver: called once, after capabilities were dropped."""

    def put(self, message: bytes) -> bool:
        """Queue a message; return False if there is no room for it."""

    def take_refused(self) -> int:
        """Return how many messages the other side has refused for good since the last call."""

    def flush(self) -> None:
        """Deliver what can be delivered now; raises SinkError if no more can ever be."""

    def hurry(self) -> None:
        """Retry at once, and often: the end is near."""

    def blocked_fd(self) -> int | None:
        """Return the file descriptor to poll for writability, if messages are queued for that."""

    def retry_ms(self) -> int | None:
        """Return after how many milliseconds to flush again, if messages are queued because of an error."""

    def reopen(self) -> bool:
        """Open the output again; return whether it is another one than before. Raises LaterError."""

    def close(self) -> None:
        """Discard what is queued, and close the output."""
