# SPDX-License-Identifier: Apache-2.0
"""Compare oomtrace with other tools in emulated guests, and write the table in docs/cost.md: `make bench`.

One guest at a time, with `-icount`: the guest's clock counts instructions, so that times in it do not depend on what
else this machine does. They are no times of real hardware; their ratios are what counts.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vm import images, kernels, payload
from vm.architecture import ARCHITECTURES
from vm.boot import boot
from vm.debs import Archive
from vm.host import HarnessError, cache_dir, locked, output_of, require
from vm.matrix import load

from bench.guests import USERLANDS, Guest, guests
from bench.plot import chart
from bench.table import between, render

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs/cost.md"
AMD64 = ARCHITECTURES["amd64"]
ICOUNT = ("-icount", "shift=1")
"""One instruction takes two nanoseconds of the guest's time."""
MEMORY_MB = 4096
"""20,000 processes need 2 GB."""
TIME_LIMIT_S = 6 * 3600
"""For a guest that hangs. One takes about 20 minutes of CPU time, and a busy machine may give it a fifth of a CPU."""
CANDIDATES = "Processes among which the kernel chooses: one kill"


def main() -> int:
    """Run the benchmark; 0: the table is written, 1: a tool could not be measured, 2: nothing could be run."""
    options = _parser().parse_args()
    try:
        results = [_run(guest, options) for guest in _prepared(options)]
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    PAGE.write_text(between(PAGE.read_text(), "make bench", render(results)))
    lines = {f"Linux {result['kernel']}": result["growth"] for result in results if isinstance(result["growth"], list)}
    if lines:
        (PAGE.parent / "growth-candidates.svg").write_text(chart(CANDIDATES, "processes", "us in BPF programs", lines))
    failed = [f"{kernel}, {name}: {error}" for kernel, name, error in _errors(results)]
    print("\n".join(failed or [f"written: {PAGE}"]))
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description="Compare oomtrace with other tools in emulated guests.")
    parser.add_argument("--kernel", action="append", choices=USERLANDS, help="only this one (repeat)")
    parser.add_argument("--wheel", type=Path, required=True, help="oomtrace, as it is installed in the guests")
    parser.add_argument("--cache", type=Path, default=cache_dir(), help="as of `make test-vm` (%(default)s)")
    return parser


def _prepared(options: argparse.Namespace) -> list[tuple[Guest, kernels.Unpacked, Path]]:
    require("qemu-system-x86_64", "cc", "setpriv", "mmdebstrap", "sfdisk", "mke2fs", "dpkg-deb")
    matrix = load()
    archive = Archive(options.cache, AMD64, (deb.suite for row in matrix.kernels for deb in row.packages))
    with locked(options.cache):
        return [
            (guest, kernels.unpack(guest.kernel, matrix.modules, options.cache, archive), image)
            for guest in guests(matrix, options.kernel or USERLANDS)
            for image in [images.build(guest.userland, AMD64, options.cache)]
        ]


def _run(prepared: tuple[Guest, kernels.Unpacked, Path], options: argparse.Namespace) -> dict[str, Any]:
    guest, kernel, image = prepared
    out = options.cache / "out" / f"{guest.kernel.name}-{guest.userland.name}"
    with TemporaryDirectory(prefix="oomtrace-bench-") as scratch:
        folder = Path(scratch) / "payload"
        payload.assemble(folder, kernel, (), options.wheel)
        add_benchmark(folder)
        result = boot(
            AMD64,
            kernel.image,
            image,
            folder,
            out,
            memory_mb=MEMORY_MB,
            cmdline_extra=("oomtrace.machine=bench",),
            qemu_options=ICOUNT,
            time_limit_s=TIME_LIMIT_S,
        )
    found = out / "guest/result.json"
    if not result.finished or not found.exists():
        raise HarnessError(f"{guest.kernel.name}: {result.reason or 'no result'}; see {out}")
    print(f"{guest.kernel.name}: {result.seconds:.0f} s", flush=True)
    return json.loads(found.read_text())  # type: ignore[no-any-return]


def add_benchmark(folder: Path) -> None:
    """Let the guest with this payload run the benchmark in place of scenarios."""
    shutil.copytree(HERE, folder / "bench", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE / "run.sh", folder)
    output_of(["cc", "-O1", "-static", "-o", folder / "load", HERE / "load.c"])


def _errors(results: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    steps = [
        (result["kernel"], name, step)
        for result in results
        for name, step in (*result.items(), *result["tools"].items())
    ]
    return [(kernel, name, step["error"]) for kernel, name, step in steps if isinstance(step, dict) and "error" in step]


if __name__ == "__main__":
    sys.exit(main())
