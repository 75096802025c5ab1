# SPDX-License-Identifier: Apache-2.0
"""Compile, load, attach and read the BPF programs."""

from __future__ import annotations

import ctypes
import errno
import os
import re
from typing import Any

from ooMtrace.errors import ProbeError
from ooMtrace.kernel.plan import Hook, Plan
from ooMtrace.probe.bcc import captured_output, environment, import_bcc, load_only, read_output
from ooMtrace.probe.compiler_memory import release_compiler_memory
from ooMtrace.probe.perf_buffer import EVENTS, PerfBuffers
from ooMtrace.probe.stub_headers import bpf_dir, header_tree

REFUSED = re.compile(r"Failed to load BPF program b?'?(?P<program>\w+)'?: (?P<reason>.*)", re.DOTALL)
"""BCC's exception for a program that the kernel refuses; the reason is strerror(3)."""

SIZE = re.compile(r"too large \((?P<size>[0-9]{1,20}) insns\)")
"""On E2BIG, BCC prints the program's size in place of the verifier's log, even where the steps were too many."""

VERDICT = re.compile(r"^(?P<verdict>\S.*)\n+processed (?P<steps>[0-9]{1,20}) insns", re.MULTILINE)
"""The last line of the verifier's log before its statistics."""


class Probe:
    """The attached BPF programs of one plan, from construction to `close`.

    The kernel detaches them when the process ends, even by SIGKILL: they are held by file descriptors only.

    Args:
        plan: What to compile and attach.
        release: The kernel's `uname -r`.
        attach: Whether to attach them. Otherwise they are only loaded, as the verifier's answer is all that is wanted.

    Raises:
        CannotTraceError: BCC cannot be used.
        ProbeError: The compiler or the kernel rejected a program or a hook; `detail` has their log.
    """

    def __init__(self, plan: Plan, release: str, *, attach: bool = True) -> None:
        self._plan = plan
        self._release = release
        self._bpf: Any = None
        bcc = import_bcc()
        self._buffers = PerfBuffers(plan.auxiliary_buffers)
        with captured_output() as log:
            try:
                self._start(bcc, attach=attach)
            except Exception as error:  # BCC raises nothing narrower
                self.close()
                raise _load_error(plan, error, read_output(log)) from error
        release_compiler_memory()

    def close(self) -> None:
        """Detach everything; a second call does nothing."""
        self._buffers.close()
        if self._bpf is not None:
            self._bpf.cleanup()
            self._bpf = None

    def fds(self) -> list[int]:
        """Return the file descriptors to poll: `read` when one is readable. A new CPU changes them."""
        return self._buffers.fds()

    def read(self, buffer: str = EVENTS) -> list[bytes]:
        """Return the perf records of a buffer that have arrived since the last call, without blocking.

        `decode` takes those of the buffer for kills.
        """
        return self._buffers.read(buffer)

    def kill_count(self) -> int:
        """Return how many kills the kernel has counted since the probes were attached, whether delivered or lost."""
        return int(self._bpf["kill_counter"][0].kills)

    def lost_records(self, buffer: str = EVENTS) -> int:
        """Return how many perf records did not fit into a buffer since the probes were attached."""
        return self._buffers.lost_records(buffer)

    def _start(self, bcc: Any, *, attach: bool) -> None:  # noqa: ANN401 (BCC has no types)
        self._bpf = self._compile(bcc.BPF if attach else load_only(bcc))
        self._load_tail_calls(bcc)
        if attach:  # Before the first hook: every kill that is counted must find an open buffer.
            self._buffers.open(self._bpf, bcc.lib)
        for hook in self._plan.hooks:
            self._attach(hook)

    def _compile(self, bpf: Any) -> Any:  # noqa: ANN401 (BCC has no types)
        macros = [f"-D{name}={_literal(value)}" for name, value in self._plan.macros.items()]
        with header_tree(self._release) as tree, environment(BCC_KERNEL_SOURCE=str(tree), ARCH=None, TMPDIR=str(tree)):
            source = (bpf_dir() / self._plan.program).read_bytes()
            return bpf(text=source, cflags=[f"-I{bpf_dir()}", "-w", *macros])

    def _load_tail_calls(self, bcc: Any) -> None:  # noqa: ANN401 (BCC has no types)
        for index, name in enumerate(self._plan.tail_calls):
            program = self._bpf.load_func(name.encode(), bcc.BPF.RAW_TRACEPOINT)
            self._bpf["tail_calls"][ctypes.c_int(index)] = ctypes.c_int(program.fd)

    def _attach(self, hook: Hook) -> None:
        target, program = hook.target.encode(), hook.program.encode()
        if hook.kind == "kprobe":
            self._bpf.attach_kprobe(event=target, fn_name=program)
        elif hook.kind == "kretprobe":
            self._bpf.attach_kretprobe(event=target, fn_name=program)
        elif hook.kind == "raw_tracepoint":
            self._bpf.attach_raw_tracepoint(tp=target, fn_name=program)
        elif hook.kind == "tracepoint":
            self._bpf.attach_tracepoint(tp=target, fn_name=program)
        elif hook.kind not in ("fentry", "fexit"):  # BCC attaches those while it compiles, by their names
            raise ValueError(f"cannot attach a program to {hook}")


def _load_error(plan: Plan, error: Exception, log: str) -> ProbeError:
    reason = _refusal(str(error), log) or " ".join(str(error).split())
    hint = "see `oomtrace --verbose` for the compiler's and the verifier's log, or request less with --level"
    return ProbeError(f"level {plan.level}: {reason}", hint, detail=log)


def _refusal(error: str, log: str) -> str:
    """Return which program the kernel refused and why; "" if `error` is another one."""
    found = REFUSED.match(error)
    if found is None:
        return ""
    refused = f"the kernel's verifier refused the program {found['program']}"
    verdict, size = VERDICT.search(log), SIZE.search(log)
    if found["reason"] == os.strerror(errno.E2BIG):
        steps = f" after {verdict['steps']} steps" if verdict else ""
        length = f" (it has {size['size']} instructions)" if size else ""
        return f"{refused}{steps}: verifying it takes more steps than the kernel's limit{length}"
    if verdict:
        return f"{refused} after {verdict['steps']} steps: {verdict['verdict']}"
    return f"the kernel refused the program {found['program']}: {found['reason']}"


def _literal(value: int) -> str:
    """Return a macro's value for C, where a decimal constant of 2^63 or more needs a suffix."""
    return f"{value}ULL" if value >= 1 << 63 else str(value)
