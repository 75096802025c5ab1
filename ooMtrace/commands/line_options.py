# SPDX-License-Identifier: Apache-2.0
"""The options of the commands that read oomtrace's lines; options.py has those of the others."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path


def add_explain_options(parser: ArgumentParser) -> None:
    """Declare where explain looks for an id."""
    parser.add_argument(
        "--from",
        dest="lines",
        type=Path,
        metavar="FILE",
        help="where to look for an ID, and what to read without operands (default: /var/log/oomtrace/oomtrace.log)",
    )


def add_explain_operands(parser: ArgumentParser) -> None:
    """Declare what is explained."""
    parser.add_argument(
        "operands",
        nargs="*",
        metavar="FILE|ID",
        help="file with oomtrace's lines, also compressed; `-`: stdin; or the id of a line or incident (see --from);"
        " none: what is piped in",
    )


def add_report_options(parser: ArgumentParser) -> None:
    """Declare where the page is written."""
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write the page to FILE instead of to stdout; an older one is replaced as a whole",
    )


def add_report_files(parser: ArgumentParser) -> None:
    """Declare the files that are read."""
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="file with oomtrace's lines, also compressed; `-`: stdin; none: what is piped in",
    )
