# SPDX-License-Identifier: Apache-2.0
"""The command `oomtrace`, and `python -m ooMtrace`."""

import sys

from ooMtrace.cli import main
from ooMtrace.runtime.isolation import isolate


def run() -> int:
    """Run the command line in an environment of its own, and return the exit code."""
    isolate()
    return main()


if __name__ == "__main__":
    sys.exit(run())
