# SPDX-License-Identifier: Apache-2.0
"""`python -m fuzz TARGET [OPTION...] [FILE...]`: one target without end, by libFuzzer, whose options these are.

Runs in `tests`; keeps what it has found in `.fuzz`. A FILE is tried once: so is a crash seen again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ooMtrace"]):
    from fuzz.targets import TARGETS

KEPT = Path(__file__).parent.parent.parent / ".fuzz"


def main() -> None:
    name, *options = sys.argv[1:]
    target, corpus = TARGETS[name], KEPT / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    given = [f"-max_len={target.longest}", "-timeout=5", f"-artifact_prefix={KEPT}/{name}-", *options]
    folders = [] if any(not one.startswith("-") for one in options) else [str(corpus)]
    atheris.Setup([sys.argv[0], *given, *folders], target.run)
    atheris.Fuzz()


main()
