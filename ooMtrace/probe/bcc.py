# SPDX-License-Identifier: Apache-2.0
"""Access to BCC: its import, its environment and what it prints. The only module that imports BCC."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ooMtrace.errors import CannotTraceError
from ooMtrace.kernel.obstacles import INSTALL_BCC

MAX_OUTPUT = 1 << 20
"""Bytes of BCC's output that are kept."""


def import_bcc() -> Any:  # noqa: ANN401 (BCC has no types)
    """Return BCC's Python module.

    Raises:
        CannotTraceError: It is not installed, its library cannot be loaded, or another package has its name.
    """
    try:
        import bcc
    except ImportError as error:
        raise CannotTraceError("BCC's Python module is not installed", INSTALL_BCC) from error
    except OSError as error:
        raise CannotTraceError(f"BCC cannot be loaded ({error})", INSTALL_BCC) from error
    if not hasattr(bcc, "BPF"):
        raise CannotTraceError(f"{bcc.__file__} is not BCC", INSTALL_BCC)
    return bcc


def bcc_version() -> str:
    """Return the version of BCC's Python module; raises CannotTraceError as `import_bcc` does."""
    return str(import_bcc().__version__)


def bcc_error() -> str:
    """Return why BCC cannot be used; "" if it can."""
    try:
        import_bcc()
    except CannotTraceError as error:
        return error.fact
    return ""


@contextmanager
def environment(**changes: str | None) -> Iterator[None]:
    """Set environment variables, or unset those that are None, and restore them at the end.

    BCC reads some of its settings from the environment only.
    """
    before = {name: os.environ.get(name) for name in changes}
    _update_environment(changes)
    try:
        yield
    finally:
        _update_environment(before)


def _update_environment(changes: dict[str, str | None]) -> None:
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def captured_output() -> Iterator[int]:
    """Redirect file descriptors 1 and 2 to a memory file; yield its descriptor, for `read_output`.

    BCC, LLVM and libbpf print from C, and stdout is for lines only.
    """
    with os.fdopen(os.memfd_create("oomtrace"), "w+b") as log:
        saved = [(fd, os.dup(fd)) for fd in (1, 2)]
        try:
            for fd, _ in saved:
                os.dup2(log.fileno(), fd)
            yield log.fileno()
        finally:
            for fd, copy in saved:
                os.dup2(copy, fd)
                os.close(copy)


def read_output(fd: int) -> str:
    """Return the first MiB of the captured output; "" if it cannot be read."""
    with suppress(OSError):
        return os.pread(fd, MAX_OUTPUT, 0).decode("utf-8", "backslashreplace")
    return ""
