# SPDX-License-Identifier: Apache-2.0
"""`python -m fuzz TARGET [OPTION...] [FILE...]`: a target, or `all`, by libFuzzer, whose options these are.

Runs in `tests`; keeps in `.fuzz` what it goes on with the next time, and each input that broke a promise: as FILE, that
one alone is tried.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ooMtrace"]):
    from fuzz.targets import TARGETS

KEPT = Path(__file__).parent.parent.parent / ".fuzz"


def main() -> None:
    name, *options = sys.argv[1:]
    if name == "all":
        failed = [one for one in TARGETS if subprocess.call([sys.executable, "-m", "fuzz", one, *options])]
        sys.exit(f"broken: {', '.join(failed)}" if failed else 0)
    target, corpus = TARGETS[name], KEPT / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = ["-timeout=5", f"-artifact_prefix={KEPT}/{name}-"]
    if all(one.startswith("-") for one in options):  # a file is tried as long as it is
        limits += [f"-max_len={target.longest}", str(corpus)]
    atheris.Setup([sys.argv[0], *limits, *options], target.run)
    atheris.Fuzz()


main()
