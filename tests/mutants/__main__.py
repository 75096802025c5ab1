# SPDX-License-Identifier: Apache-2.0
"""Put each fault of the list into a copy of the tree, and expect the named test to fail there.

    python -m tests.mutants [--jobs N] [NAME-PART ...]

A fault that no test notices shows a gap in the tests. Run it by hand, and before a release: `make mutants`. It prints
one row for each fault: `caught`, `vm` or `harmless` (not run: see faults.py), SURVIVED (no test failed), STALE (its
text does not occur once in its file) or BROKEN (the test did not run to its end, so nothing was proven).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from queue import SimpleQueue

from .faults import Fault, load

ROOT = Path(__file__).parents[2]
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")
COPIED_TOO = (".github", ".ci", ".clang-format", ".gitignore")
TIMEOUT_S, EACH_TIMEOUT_S = 600, 120
"""Of one run of pytest, and of each test in it: a fault may make it wait for ever, and a busy machine is slow."""

MEMORY_BYTES = 4 << 30
SECONDS = count(int(time.time()) + 1)
PASSED, FAILED, NOTHING_PROVEN = 0, 1, 2
"""Exit codes of pytest; all from 2 on mean that the tests did not run to their end."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="only faults whose name or file contains one of these")
    parser.add_argument("--no-host", action="store_true", help="leave out faults that only a test as root notices")
    parser.add_argument("--jobs", type=int, default=3, metavar="N", help="faults at a time (%(default)s)")
    chosen = parser.parse_args()
    faults = [
        fault
        for fault in load()
        if (not chosen.names or any(part in f"{fault.name} {fault.file}" for part in chosen.names))
        and not (chosen.no_host and fault.on_host)
    ]
    results: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="oomtrace-mutants-") as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(chosen.jobs):
            copies.put(copy_tree(Path(folder) / f"tree-{number}"))
        tests = sorted({test for fault in faults for test in fault.test.split()})
        if tests and run(tests, Path(folder) / "tree-0", "--maxfail=10", timeout_s=6 * TIMEOUT_S) != PASSED:
            print("these tests fail without any fault; see above")
            return 1

        def judge(fault: Fault) -> tuple[str, float]:
            copy, begin = copies.get(), time.monotonic()
            try:
                return verdict(fault, copy), time.monotonic() - begin
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(chosen.jobs) as pool:  # many tests wait, some of them for their timeout
            for fault, (result, seconds) in zip(faults, pool.map(judge, faults), strict=True):
                results[result] += 1
                print(f"{result:<8} {seconds:5.1f} s  {fault.name}", flush=True)
    print(", ".join(f"{number} {result}" for result, number in sorted(results.items())))
    return 0 if results.keys() <= {"caught", "vm", "harmless"} else 1


def copy_tree(copy: Path) -> Path:
    shutil.copytree(ROOT, copy, ignore=NOT_COPIED, symlinks=True)
    for name in COPIED_TOO:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name)
        elif source.exists():
            shutil.copy2(source, copy / name)
    return copy


def verdict(fault: Fault, copy: Path) -> str:
    """Put a fault into the copy, run its test, and take it out again."""
    file = copy / fault.file
    before = file.read_text()
    if before.count(fault.old) != 1:
        return "STALE"
    if not fault.test:
        return "vm" if fault.vm else "harmless"
    write(file, before.replace(fault.old, fault.new))
    try:
        code = run(fault.test.split(), copy, "--exitfirst")
    finally:
        write(file, before)
    return "caught" if code < 0 else {FAILED: "caught", PASSED: "SURVIVED"}.get(code, "BROKEN")


def write(file: Path, text: str) -> None:
    """Write a file, with a new time: compiled Python is believed while time (in seconds) and size are the same."""
    file.write_text(text)
    newer = next(SECONDS)
    os.utime(file, (newer, newer))


def run(tests: list[str], copy: Path, *options: str, timeout_s: float = TIMEOUT_S) -> int:
    """Run tests in the copy, whose package comes before an installed one.

    Returns pytest's exit code; below 0: a signal ended it.
    """
    each = f"--timeout={EACH_TIMEOUT_S}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", each, *options, *tests]
    if not any(test.startswith("tests/host") for test in tests):  # a loop that a fault makes endless may use memory
        command = ["prlimit", f"--data={MEMORY_BYTES}", *command]
    # without a fault the kernel can be traced: a test, and not the check before all tests, is to notice that it cannot
    kernel = "known" if "--exitfirst" in options else "1"
    ours = {"PYTHONPATH": str(copy), "OOMTRACE_REQUIRE_KERNEL": kernel, "CI": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=copy,
            env={**os.environ, **ours},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:  # each test has its own timeout, so the machine is slow: no test has failed
        return NOTHING_PROVEN
    # A fault that does not compile is an error of a fixture: no test has noticed it.
    broken = re.search(r"\b\d+ errors?\b", done.stdout.splitlines()[-1]) if done.stdout else None
    if "--exitfirst" not in options and done.returncode != PASSED:
        print(done.stdout)
    return NOTHING_PROVEN if broken else done.returncode


if __name__ == "__main__":
    sys.exit(main())
