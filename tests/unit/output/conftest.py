# SPDX-License-Identifier: Apache-2.0
"""What the tests of several outputs share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ooMtrace.output.open import open_outputs
from ooMtrace.output.outputs import Outputs
from ooMtrace.output.url import parse_output


@pytest.fixture
def start() -> Iterator[Callable[..., Outputs]]:
    """Open and start the outputs that are named; `say` gets what they announce."""
    opened: list[Outputs] = []

    def start(say: Callable[[str], None], *texts: object) -> Outputs:
        outputs = open_outputs([parse_output(str(text)) for text in texts], say)
        opened.append(outputs)
        outputs.start("full")
        return outputs

    yield start
    for each in opened:
        each.close()
