# SPDX-License-Identifier: Apache-2.0
"""Put each fault of the list into a copy of the tree, and expect the named test to fail there.

    python -m tests.mutants [NAME-PART ...]

A fault that no test notices shows a gap in the tests. Run it by hand, and before a release: `make mutants`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.mutants.faults import Fault, load

ROOT = Path(__file__).parents[2]
COPIED = ("ooMtrace", "bpf", "tests", "vagrant", "docs", "pyproject.toml", "README.md", "Makefile", "LICENSE")
TIMEOUT_S = 300
FAILED = 1
"""Exit code of pytest when tests have run and some have failed; others mean that nothing was proven."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="only faults whose name contains one of these")
    parser.add_argument("--no-host", action="store_true", help="leave out faults that only a test as root notices")
    chosen = parser.parse_args()
    faults = [
        fault
        for fault in load()
        if (not chosen.names or any(part in fault.name for part in chosen.names))
        and not (chosen.no_host and fault.on_host)
    ]
    results: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="oomtrace-mutants-") as folder:
        copy = Path(folder) / "tree"
        copy.mkdir()
        for name in COPIED:
            source = ROOT / name
            ignore = shutil.ignore_patterns("__pycache__")
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=ignore)
            else:
                shutil.copy2(source, copy / name)
        for fault in faults:
            begin = time.monotonic()
            result = verdict(fault, copy)
            results[result] += 1
            print(f"{result:<8} {time.monotonic() - begin:5.1f} s  {fault.name}", flush=True)
    print(", ".join(f"{count} {result}" for result, count in sorted(results.items())))
    return 0 if results.keys() <= {"caught", "harmless"} else 1


def verdict(fault: Fault, copy: Path) -> str:
    """Return `caught`, `harmless`, `SURVIVED` or what kept the test from running."""
    if fault.harmless:
        return "harmless"
    file = copy / fault.file
    before = file.read_text()
    if before.count(fault.old) != 1:
        return "STALE"
    file.write_text(before.replace(fault.old, fault.new))
    try:
        code = run(fault.test, copy)
    finally:
        file.write_text(before)
    return {FAILED: "caught", 0: "SURVIVED"}.get(code, f"BROKEN {code}")


def run(test: str, copy: Path) -> int:
    """Run one test in the copy; the copy's package comes before an installed one."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout", "120", *test.split()]
    ours = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OOMTRACE_REQUIRE_KERNEL": "1"}
    environment = {**os.environ, **ours}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return FAILED
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
