# SPDX-License-Identifier: Apache-2.0
"""Modules that are imported once the probes are attached, when most capabilities are dropped."""

from __future__ import annotations

import os
import stat
from pathlib import Path

PACKAGE = Path(__file__).parent.parent

READ, ENTER = 0o4, 0o1


def can_import_later(package: Path = PACKAGE) -> bool:
    """Say whether a package can be read without CAP_DAC_OVERRIDE: not if it is in another user's private directory."""
    try:
        return all(_is_readable(path.stat()) for path in (package / "__init__.py", package, *package.parents))
    except OSError:
        return False


def import_all() -> None:
    """Import now what would be imported later: what a line needs, and what a kill needs that no probe has seen."""
    import ooMtrace.kmsg.boot_log
    import ooMtrace.runtime.line_writer
    import ooMtrace.runtime.startup  # noqa: F401 (they are kept in sys.modules)


def _is_readable(status: os.stat_result) -> bool:
    wanted = READ | ENTER if stat.S_ISDIR(status.st_mode) else READ
    if status.st_uid == os.geteuid():
        return status.st_mode >> 6 & wanted == wanted
    return all(status.st_mode >> shift & wanted == wanted for shift in (0, 3))
