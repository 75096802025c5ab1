# SPDX-License-Identifier: Apache-2.0
"""The command `oomtrace`, and `python -m ooMtrace`."""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 (pip refuses this Python, but can be forced)
    found = "{}.{}".format(*sys.version_info)
    sys.exit(f"oomtrace: needs Python 3.10 or later, and this is {found}; use Debian 12, Ubuntu 22.04 or later")

from ooMtrace.cli import main
from ooMtrace.runtime.isolation import isolate


def run() -> int:
    """Run the command line in an environment of its own, and return the exit code."""
    isolate()
    return main()


if __name__ == "__main__":
    sys.exit(run())
