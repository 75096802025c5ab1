# SPDX-License-Identifier: Apache-2.0
"""Files that an administrator maintains, such as /etc/passwd: read without blocking, and only up to a limit."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

LIMIT = 4 << 20
"""Bytes; what follows is not read."""


def read_regular_file(path: Path, limit: int = LIMIT) -> bytes:
    """Return the first `limit` bytes of a file.

    Raises:
        OSError: It cannot be read, or is something else than a regular file: a FIFO would block.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with os.fdopen(fd, "rb") as file:
        return file.read(limit)
