# SPDX-License-Identifier: Apache-2.0
"""The options of `oomtrace scores`."""

from __future__ import annotations

from argparse import ArgumentParser

from ooMtrace.commands.option_values import count


def add_scores_options(parser: ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    parser.add_argument(
        "--cgroup", metavar="PATH", help="only the limit of this memory cgroup, or else the nearest one above it"
    )
    parser.add_argument(
        "--pid", type=count, metavar="PID", help="explain one process: its place, and what would spare it"
    )
    parser.add_argument(
        "--top", type=count, default=10, metavar="N", help="processes of each domain (default: 10); 0: all"
    )
    parser.add_argument(
        "--pss", action="store_true", help="also read proportional set sizes, which the kernel does not use"
    )
    parser.add_argument("--watch", action="store_true", help="again every two seconds, until Ctrl-C")
    parser.add_argument(
        "--adj-changes",
        action="store_true",
        help="instead of scores, print who changes whose oom_score_adj, as it happens, until Ctrl-C",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="with errors of --adj-changes, show the compiler's and verifier's log"
    )
