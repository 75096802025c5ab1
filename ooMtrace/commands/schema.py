# SPDX-License-Identifier: Apache-2.0
"""`oomtrace schema`: the JSON Schema of a line."""

from __future__ import annotations

from argparse import Namespace

from ooMtrace.commands import Say
from ooMtrace.output.encode import dump
from ooMtrace.output.stream import StreamSink
from ooMtrace.record.json_schema import json_schema


def run(_arguments: Namespace, _say: Say) -> int:
    """Write the schema to stdout."""
    StreamSink().write(dump(json_schema()))
    return 0
