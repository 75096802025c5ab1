# SPDX-License-Identifier: Apache-2.0
"""Compile the BPF programs with BCC, in a process of its own: the compiler's 100 MB never enter the tracer."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ooMtrace.errors import CannotTraceError, OomtraceError, ProbeError
from ooMtrace.kernel.plan import Plan
from ooMtrace.probe.bpf_sources import bpf_dir
from ooMtrace.probe.captured_output import LIMITS, read_output
from ooMtrace.probe.image import (
    KEY_SIZE,
    MAX_SIZE,
    PLACEHOLDER,
    Image,
    MapDefinition,
    decode_image,
    encode_image,
    find_relocations,
)

CHILD = (
    "import sys; sys.path[:] = sys.argv.pop(1).split(chr(10)); "
    "from ooMtrace.probe.compiler import main; sys.exit(main(sys.argv[1:]))"
)
TIMEOUT = 600
"""Seconds; a compilation takes one, and ten where the processor is emulated."""

UNUSED_KEY = bytes(KEY_SIZE)
CANNOT_TRACE = 77
HINT = "see `oomtrace --verbose` for the compiler's and the verifier's log, or request less with --level"


def compile_image(plan: Plan, release: str) -> Image:
    """Compile what a plan needs, in a child process.

    Raises:
        CannotTraceError: BCC cannot be used.
        ProbeError: The compiler failed; `detail` has its log.
    """
    import subprocess  # most starts compile nothing

    names = " ".join(plan.addresses)
    command = [sys.executable, "-I", "-c", CHILD, "\n".join(sys.path), plan.program, release, names, *macro_flags(plan)]
    with ExitStack() as stack:
        try:
            # no pipes: where there is no descriptor for the last one, Popen of Python 3.11 leaves the others open
            output, log_file = (_memory_file(stack) for _ in range(2))
            done = subprocess.run(command, stdout=output, stderr=log_file, check=False, timeout=TIMEOUT, cwd="/")
        except (OSError, subprocess.SubprocessError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ProbeError(f"level {plan.level}: the compiler cannot be run: {reason}", LIMITS) from error
        written, log = os.pread(output, MAX_SIZE + 1, 0), read_output(log_file)
    if done.returncode == 0:
        try:
            return decode_image(written, UNUSED_KEY)
        except ValueError as error:
            raise ProbeError(f"level {plan.level}: the compiler's output is unusable", HINT, detail=log) from error
    fact, _, hint = written.decode("utf-8", "replace").partition("\n")
    if done.returncode == CANNOT_TRACE:
        raise CannotTraceError(fact, hint)
    fact = fact or f"the compiler ended with status {done.returncode}"
    raise ProbeError(f"level {plan.level}: {fact}", hint or HINT, detail=log)


def _memory_file(stack: ExitStack) -> int:
    file = os.memfd_create("oomtrace")
    stack.callback(os.close, file)
    return file


def main(arguments: list[str]) -> int:
    """Compile in the child: write the image, or the failure's fact and hint, to the original stdout."""
    result = os.dup(1)
    os.dup2(2, 1)  # BCC and LLVM print from C
    program, release, names, *flags = arguments
    status = 0
    try:
        output = encode_image(compile_here(program, release, tuple(names.split()), flags), UNUSED_KEY)
    except OomtraceError as error:
        output, status = f"{error.fact}\n{error.hint}".encode(), error.exit_code
    except OSError as error:
        output, status = f"the compiler: {error.strerror}\n{LIMITS}".encode(), 1
    with os.fdopen(result, "wb") as file:
        file.write(output)
    return status


def compile_here(
    program: str, release: str, addresses: tuple[str, ...], flags: list[str], arch: str | None = None
) -> Image:
    """Compile in this process, which the compiler does not leave again.

    Args:
        program: A file in bpf/.
        release: The kernel's `uname -r`.
        addresses: Macros whose value is a kernel address, which is not compiled in.
        flags: For the compiler: the other macros.
        arch: A processor architecture as BCC calls it; None: this machine's.

    Raises:
        CannotTraceError: BCC cannot be used.
        ProbeError: The compiler failed.
    """
    from ooMtrace.probe.bcc import environment, import_bcc
    from ooMtrace.probe.stub_headers import header_tree

    bcc = import_bcc()
    bcc.BPF._trace_autoload = lambda _: None  # it would attach fentry and fexit programs, by their names
    with header_tree(release) as tree, environment(BCC_KERNEL_SOURCE=str(tree), ARCH=arch, TMPDIR=str(tree)):
        source = (bpf_dir() / program).read_bytes()
        placeholders = [f"-D{name}={_placeholder(index)}" for index, name in enumerate(addresses)]
        try:
            module = bcc.BPF(text=source, cflags=[f"-I{bpf_dir()}", "-w", *flags, *placeholders]).module
        except Exception as error:  # BCC raises nothing narrower
            raise ProbeError(" ".join(str(error).split()), HINT) from error
        return _extract(bcc.lib, module, addresses)


def _placeholder(index: int) -> str:
    """Return an expression that the compiler turns into one instruction, and computes nothing from."""
    return f'({{ unsigned long long value; asm("%0 = {PLACEHOLDER + index:#x} ll" : "=r"(value)); value; }})'


def _extract(lib: Any, module: Any, addresses: tuple[str, ...]) -> Image:  # noqa: ANN401 (BCC has no types)
    lib.bpf_num_tables.argtypes, lib.bpf_num_tables.restype = [ctypes.c_void_p], ctypes.c_ulonglong
    lib.bpf_table_name.argtypes = [ctypes.c_void_p, ctypes.c_ulonglong]
    lib.bpf_table_name.restype = ctypes.c_char_p
    maps, map_of_fd = [], {}
    for index in range(lib.bpf_num_tables(module)):
        name = lib.bpf_table_name(module, index)
        fd = lib.bpf_table_fd(module, name)
        map_of_fd[fd] = index
        maps.append(_map_definition(name.decode(), fd))
    programs = []
    for index in range(lib.bpf_num_functions(module)):
        name = lib.bpf_function_name(module, index)
        code = ctypes.string_at(lib.bpf_function_start(module, name), lib.bpf_function_size(module, name))
        programs.append(find_relocations(name.decode(), code, map_of_fd, len(addresses)))
    return Image(tuple(maps), tuple(programs), addresses)


def _map_definition(name: str, fd: int) -> MapDefinition:
    """Read a map's definition from its descriptor (kernel/bpf/syscall.c: bpf_map_show_fdinfo)."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    info = dict(line.split(":", 1) for line in lines if ":" in line)
    sizes = (int(info[key], 0) for key in ("map_type", "key_size", "value_size", "max_entries", "map_flags"))
    return MapDefinition(name, *sizes)


def macro_flags(plan: Plan) -> list[str]:
    """Return the compiler's flags that define a plan's macros, without kernel addresses."""
    return [f"-D{name}={_literal(value)}" for name, value in plan.macros.items()]


def _literal(value: int) -> str:
    """Return a macro's value for C, where a decimal constant of 2^63 or more needs a suffix."""
    return f"{value}ULL" if value >= 1 << 63 else str(value)
