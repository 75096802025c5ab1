# SPDX-License-Identifier: Apache-2.0
"""The hash that keys and checksums of cached files are made with. Pure."""

from __future__ import annotations

try:
    from _blake2 import blake2b  # hashlib loads OpenSSL as well, and 3.4 MiB of it stay resident
except ImportError:  # a Python that was built without it
    from hashlib import blake2b

SIZE = 32
"""Bytes of a digest."""


def hasher(data: bytes = b"") -> blake2b:
    """Return a hash of these bytes, to which more can be added."""
    return blake2b(data, digest_size=SIZE)
