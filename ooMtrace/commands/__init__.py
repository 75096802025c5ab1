# SPDX-License-Identifier: Apache-2.0
"""The subcommands, one file each. None of them prints or exits: that is cli.py's. Their options are in options.py."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Protocol

Say = Callable[[str], None]
"""Takes one line for the operator."""


class Command(Protocol):
    """What each command's module offers; it is imported only when the command is used."""

    def run(self, arguments: Namespace, say: Say) -> int:
        """Do it; return the exit code.

        Raises:
            OomtraceError: It failed in a way that the user can do something about.
        """
