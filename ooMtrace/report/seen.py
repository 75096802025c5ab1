# SPDX-License-Identifier: Apache-2.0
"""Which ids have been met before, in bounded memory. Pure."""

from __future__ import annotations

from hashlib import blake2b

MOST = 1_000_000
"""Ids that are kept, about 100 bytes each; of more, the last ones."""

DIGEST = 16


class Seen:
    """A set of texts that forgets the oldest.

    Args:
        most: How many it keeps.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._digests: dict[bytes, None] = {}
        self.count = 0

    def add(self, *text: str) -> bool:
        """Return whether a text, in its parts, is new, and keep it."""
        digest = blake2b("\0".join(text).encode("utf-8", "surrogatepass"), digest_size=DIGEST).digest()
        if digest in self._digests:
            return False
        self._digests[digest] = None
        self.count += 1
        if len(self._digests) > self._most:
            del self._digests[next(iter(self._digests))]
        return True

    @property
    def has_forgotten(self) -> bool:
        """Whether there were more than are kept, so that some may have been counted twice."""
        return self.count > self._most
