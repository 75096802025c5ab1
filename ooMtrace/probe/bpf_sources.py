# SPDX-License-Identifier: Apache-2.0
"""Where the BPF sources are."""

from __future__ import annotations

from pathlib import Path

from ooMtrace.errors import ProbeError

PACKAGE = Path(__file__).resolve().parent.parent


def bpf_dir() -> Path:
    """Return the directory of the BPF sources: inside an installed package, beside it in a checkout.

    Raises:
        ProbeError: They are in neither.
    """
    for directory in (PACKAGE / "bpf", PACKAGE.parent / "bpf"):
        if (directory / "oomtrace.bpf.c").is_file():
            return directory
    raise ProbeError(f"the BPF sources are missing from {PACKAGE}", "reinstall oomtrace")
