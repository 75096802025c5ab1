# SPDX-License-Identifier: Apache-2.0
"""Certificates that sign themselves."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    cert: Path
    key: Path


def self_signed(folder: Path, host: str, *options: str) -> Certificate:
    """Return a certificate for a DNS name; options are those of openssl-req(1)."""
    made = Certificate(folder / f"{host}.pem", folder / f"{host}.key")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}", "-days", "2", *options]
    done = subprocess.run(
        [*command, "-keyout", made.key, "-out", made.cert, *names], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return made
