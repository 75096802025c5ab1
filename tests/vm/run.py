# SPDX-License-Identifier: Apache-2.0
"""Run oomtrace's scenarios on a matrix of real kernels: `python3 -m tests.vm.run --help`."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from . import images, kernels, payload
from .architecture import ARCHITECTURES
from .boot import boot
from .debs import Archive
from .host import HarnessError, cache_dir, locked, require
from .matrix import Cell, Matrix, load
from .verdict import Verdict, disk_stalled, evaluate


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that the boots need, by name."""

    kernels: dict[str, kernels.Unpacked]
    images: dict[tuple[str, str], Path]
    """By userland and architecture."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, print; 0 when every boot passed, 1 when one failed, 2 when nothing could run."""
    options = _parser().parse_args(arguments)
    matrix = load()
    try:
        cells = _chosen(matrix, options)
        if options.list:
            print("\n".join(cell.name for cell in cells))
            return 0
        return _run(matrix, cells, options)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run.py", description="Boot real kernels in QEMU and run oomtrace's scenarios on each."
    )
    parser.add_argument("--arch", choices=ARCHITECTURES, help="all kernels of this architecture, and no others")
    parser.add_argument("--kernel", action="append", metavar="NAME", help="only this one (repeat)")
    parser.add_argument("--userland", action="append", metavar="NAME", help="only this one (repeat)")
    parser.add_argument("--machine", action="append", metavar="NAME", help="only this one (repeat)")
    parser.add_argument("--only", action="append", metavar="SCENARIO", help="this one (repeat)")
    parser.add_argument("--wheel", type=Path, metavar="PATH", help="install this in every guest")
    parser.add_argument("--deb", type=Path, metavar="PATH", help="the package for the machine systemd (`make deb`)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="guests at a time (%(default)s)")
    parser.add_argument("--slowdown", type=int, default=1, metavar="N", help="multiply all time limits: a busy host")
    parser.add_argument("--out", type=Path, metavar="DIR", help="consoles and results (CACHE/out)")
    parser.add_argument("--cache", type=Path, default=cache_dir(), metavar="DIR", help="%(default)s")
    parser.add_argument("--list", action="store_true", help="print the boots and stop")
    return parser


def _chosen(matrix: Matrix, options: argparse.Namespace) -> list[Cell]:
    """The cells that the options leave; a name that the table does not have is an error."""
    wanted = {
        "kernel": (options.kernel, {row.name for row in matrix.kernels}),
        "userland": (options.userland, {row.name for row in matrix.userlands}),
        "machine": (options.machine, {row.name for row in matrix.machines}),
    }
    asked = options.arch or any(names for names, _ in wanted.values())
    cells = list(matrix.cells()) if asked else matrix.default_cells()
    for axis, (names, known) in wanted.items():
        for name in names or ():
            if name not in known:
                raise HarnessError(f"no {axis} {name}; there are: {', '.join(sorted(known))}")
        cells = [cell for cell in cells if not names or getattr(cell, axis).name in names]
    if options.arch:
        cells = [cell for cell in cells if cell.kernel.architecture.name == options.arch]
    if asked and not options.kernel and not options.arch:
        cells = [cell for cell in cells if cell.kernel.by_default]
    if not options.userland:
        cells = [cell for cell in cells if cell.userland.by_default]
    if not options.machine:
        cells = [cell for cell in cells if cell.machine.by_default]
    if options.only:
        cells = [replace(cell, only=tuple(options.only)) for cell in cells]
    cells = [cell for cell in cells if payload.scenarios(cell.machine.name, cell.only)]
    if not cells:
        raise HarnessError("these options leave no boot of the matrix")
    return cells


def _run(matrix: Matrix, cells: Sequence[Cell], options: argparse.Namespace) -> int:
    package: Path | None = options.deb
    needs = any(payload.INSTALLS_PACKAGE in payload.scenarios(cell.machine.name, options.only) for cell in cells)
    if needs and not (package and package.is_file()):
        raise HarnessError(
            f"no package for {payload.INSTALLS_PACKAGE}: run `make deb`, and add --deb dist/oomtrace_*.deb"
        )
    architectures = {cell.kernel.architecture for cell in cells}
    require(*(each.qemu[0] for each in architectures), *(each.compiler for each in architectures))
    require("setpriv", "mmdebstrap", "sfdisk", "mke2fs", "dpkg-deb")
    if options.wheel and not options.wheel.is_file():
        raise HarnessError(f"no wheel at {options.wheel}")
    out: Path = (options.out or options.cache / "out").absolute()
    prepared = _prepare(matrix, cells, options.cache.absolute())

    def run_one(cell: Cell) -> Verdict:
        verdict = _boot(cell, prepared, options, out / cell.name)
        if verdict.ok or not disk_stalled(out / cell.name):
            return verdict
        # The emulator is at fault, so this is no result: run it again, and count that.
        print(f"again {cell.name}: the emulated disk lost a request", file=sys.stderr, flush=True)
        shutil.rmtree(out / f"{cell.name}.stalled", ignore_errors=True)
        (out / cell.name).rename(out / f"{cell.name}.stalled")
        return _boot(cell, prepared, options, out / cell.name)

    failed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for cell, verdict in zip(cells, pool.map(run_one, cells), strict=True):
            failed += not verdict.ok
            print(_line(cell, verdict, out), flush=True)
    print(f"{len(cells) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _prepare(matrix: Matrix, cells: Sequence[Cell], cache: Path) -> Prepared:
    """Fetch and build what the cells need, one after the other: it is the disk that is slow."""
    archives = {
        each: Archive(
            cache, each, (deb.suite for row in matrix.kernels if row.architecture == each for deb in row.packages)
        )
        for each in ARCHITECTURES.values()
    }
    prepared = Prepared({}, {})
    with locked(cache):
        for cell in cells:
            kernel, userland, architecture = cell.kernel, cell.userland, cell.kernel.architecture
            if kernel.name not in prepared.kernels:
                with _announced(f"kernel {kernel.name}"):
                    unpacked = kernels.unpack(kernel, matrix.modules, cache, archives[architecture])
                prepared.kernels[kernel.name] = unpacked
            if (userland.name, architecture.name) not in prepared.images:
                with _announced(f"image {userland.name}, {architecture.name}"):
                    image = images.build(userland, architecture, cache)
                prepared.images[userland.name, architecture.name] = image
    return prepared


@contextmanager
def _announced(what: str) -> Iterator[None]:
    """Print how long a step took, if that was more than a second."""
    began = time.monotonic()
    yield
    seconds = time.monotonic() - began
    if seconds > 1:
        print(f"{what}: ready after {seconds:.0f} s", file=sys.stderr, flush=True)


def _boot(cell: Cell, prepared: Prepared, options: argparse.Namespace, out: Path) -> Verdict:
    there = payload.scenarios(cell.machine.name, cell.only)
    names = tuple(name for name in there if name not in cell.kernel.cannot)
    kernel, machine, architecture = prepared.kernels[cell.kernel.name], cell.machine, cell.kernel.architecture
    slowdown = architecture.slowdown * options.slowdown
    with TemporaryDirectory(prefix="oomtrace-vm-") as scratch:
        folder = Path(scratch) / "payload"
        payload.assemble(folder, kernel, names, options.wheel, options.deb)
        result = boot(
            architecture,
            kernel.image,
            prepared.images[cell.userland.name, architecture.name],
            folder,
            out,
            initramfs=kernel.initramfs,
            memory_mb=machine.memory_mb,
            cpus=machine.cpus,
            numa_nodes=machine.numa_nodes,
            cmdline_extra=(
                f"oomtrace.machine={machine.name}",
                f"oomtrace.limit={machine.scenario_limit_s * slowdown}",
                f"oomtrace.slowdown={slowdown}",
                *machine.cmdline,
            ),
            time_limit_s=machine.time_limit_s * slowdown,
        )
    shutil.copy(kernel.config, out / "config")
    return evaluate(result, (*(("install",) if options.wheel else ()), *names), out)


def _line(cell: Cell, verdict: Verdict, out: Path) -> str:
    names = f"{cell.kernel.name:14} {cell.userland.name:9} {cell.machine.name:10}"
    if verdict.ok:
        return f"ok    {names} {verdict.seconds:6.1f} s  {len(verdict.passed)} scenarios"
    problems = "; ".join(verdict.problems)
    return f"FAIL  {names} {verdict.seconds:6.1f} s  {problems}  (see {out / cell.name})"


if __name__ == "__main__":
    sys.exit(main())
