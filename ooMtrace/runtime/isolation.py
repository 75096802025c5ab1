# SPDX-License-Identifier: Apache-2.0
"""What the caller's environment may change: as little as possible, for it may be that of an ordinary user (sudo -E)."""

from __future__ import annotations

import os
import site
import sys
import time
from datetime import datetime
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

SERVICE = frozenset({"CACHE_DIRECTORY", "NOTIFY_SOCKET", "STATE_DIRECTORY", "WATCHDOG_PID", "WATCHDOG_USEC"})
"""Variables that systemd sets for a service."""
KUBERNETES = frozenset({"KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "NODE_NAME"})
"""Variables that the kubelet sets, or the manifest."""

KEPT = SERVICE | KUBERNETES | {"COLUMNS", "LANG", "LANGUAGE", "LINES", "NO_COLOR", "TERM", "TMPDIR", "TZ"}
"""Variables that are used, besides LC_*. CACHE_DIRECTORY and TMPDIR are checked before use. Others could change what
the compiler or a child process reads or runs: PYTHON*, LD_*, BCC_*, CPATH, HOME."""

OWNER = 0o077
"""The owner may always read and write what is created, whatever the umask."""


def isolate() -> None:
    """Drop all other environment variables, for this process and its children, and the directories of a user's modules.

    `make install` starts Python with -I, which does not add those directories in the first place. The command that pip
    makes of a wheel does not; here they are removed before a third-party module is imported. In a checkout they are
    kept: it is for developers, who use PYTHONPATH.
    """
    _leave_removed_directory()
    if os.geteuid() == 0 and not sys.flags.isolated and _is_installed():
        sys.path[:] = _system_path(os.environ.get("PYTHONPATH", ""))
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("LC_")}
    os.environ.clear()
    os.environ.update({**kept, "PATH": PATH, "HOME": "/"})  # without HOME, sysconfig looks it up in /etc/passwd
    os.umask(os.umask(0) & OWNER)
    _check_time_zone()


def _leave_removed_directory() -> None:
    """Change to the root directory if the current one was removed: the compiler would refuse to work there."""
    try:
        os.getcwd()  # noqa: PTH109 (Path.cwd() is the same call)
    except OSError:
        os.chdir("/")


def _check_time_zone() -> None:
    """Use UTC if TZ is a zone that dates cannot have, a day or more from UTC."""
    try:
        datetime.now().astimezone()
    except (OverflowError, ValueError):
        os.environ["TZ"] = "UTC0"
        time.tzset()


def _is_installed() -> bool:
    return any(Path(__file__).is_relative_to(directory) for directory in site.getsitepackages())


def _system_path(python_path: str) -> list[str]:
    """Return sys.path without what -I omits: PYTHONPATH, the user's site, the directory of the script or module."""
    user = (*python_path.split(os.pathsep), site.getusersitepackages())
    added = {os.path.abspath(entry) for entry in user} - {*site.getsitepackages()}  # noqa: PTH100 (as site does)
    first = 0 if getattr(sys.flags, "safe_path", False) else 1  # Python 3.11
    return [entry for entry in sys.path[first:] if Path(entry).is_absolute() and entry not in added]
