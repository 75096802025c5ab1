# SPDX-License-Identifier: Apache-2.0
"""What BCC's libraries print from C: captured, because stdout is for lines only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from ooMtrace.errors import ProbeError

LIMITS = "raise the limit on open files: ulimit -n 1024"
MAX_OUTPUT = 1 << 20
"""Bytes of the output that are kept."""


@contextmanager
def captured_output() -> Iterator[int]:
    """Redirect file descriptors 1 and 2 to a memory file; yield its descriptor, for `read_output`.

    BCC, LLVM and libbpf print from C, and stdout is for lines only.

    Raises:
        ProbeError: There are too few file descriptors.
    """
    with ExitStack() as stack:
        try:
            log = os.memfd_create("oomtrace")
            stack.callback(os.close, log)
            for fd in (1, 2):
                saved = os.dup(fd)
                stack.callback(os.close, saved)
                stack.callback(os.dup2, saved, fd)
                os.dup2(log, fd)
        except OSError as error:
            raise ProbeError(f"the compiler's output cannot be redirected: {error.strerror}", LIMITS) from error
        yield log


def read_output(fd: int) -> str:
    """Return the captured output, of more than a MiB the first and the last half; "" if it cannot be read."""
    with suppress(OSError):
        start = os.pread(fd, MAX_OUTPUT // 2, 0)
        rest = max(os.fstat(fd).st_size - MAX_OUTPUT // 2, len(start))  # the verifier's verdict is at the end
        return (start + os.pread(fd, MAX_OUTPUT // 2, rest)).decode("utf-8", "backslashreplace")
    return ""
