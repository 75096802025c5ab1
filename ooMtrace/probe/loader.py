# SPDX-License-Identifier: Apache-2.0
"""Compile, attach and read the kernel side. The only module that knows BCC."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ooMtrace.errors import CannotTraceError, ProbeError
from ooMtrace.kernel.obstacles import INSTALL_BCC
from ooMtrace.kernel.plan import Hook, Plan
from ooMtrace.probe.compiler_memory import give_back_compiler
from ooMtrace.probe.cpu_hotplug import Hotplug
from ooMtrace.probe.stub_headers import header_tree, sources

BUFFERS = 16 << 20
"""Bytes for the perf buffers of all CPUs, between the limits for each: a kill makes two records of about 6 KiB."""


def bcc_version() -> str:
    """Return the version of BCC's Python module; raises CannotTraceError where there is none."""
    return str(_import_bcc().__version__)


def bcc_error() -> str:
    """Say why BCC cannot be had; "" if it can."""
    try:
        _import_bcc()
    except CannotTraceError as error:
        return error.fact
    return ""


def _import_bcc() -> Any:  # noqa: ANN401 (BCC has no types)
    try:
        import bcc
    except ImportError as error:
        raise CannotTraceError("BCC's Python module is not installed", INSTALL_BCC) from error
    except OSError as error:
        raise CannotTraceError(f"BCC cannot be loaded ({error})", INSTALL_BCC) from error
    if not hasattr(bcc, "BPF"):
        raise CannotTraceError(f"{bcc.__file__} is not BCC", INSTALL_BCC)
    return bcc


class Probe:
    """The probes of one plan, attached from construction to `close`.

    Nothing stays behind in the kernel afterwards, also after SIGKILL, for everything hangs on file descriptors.

    Args:
        plan: What to compile and attach.
        release: The kernel's `uname -r`.

    Raises:
        CannotTraceError: BCC is not there.
        ProbeError: The compiler or the kernel refused; `detail` has their log.
    """

    def __init__(self, plan: Plan, release: str) -> None:
        self._plan = plan
        self._release = release
        self._records: list[bytes] = []
        self._lost = 0
        self._bpf: Any = None
        self._lib: Any = None
        self._hotplug = Hotplug()
        bcc = _import_bcc()
        with _captured_output() as log:
            try:
                self._load(bcc)
            except Exception as error:  # BCC raises nothing narrower
                self.close()
                reason = " ".join(str(error).split())
                raise ProbeError(
                    f"level {self._plan.level}: {reason}",
                    "see --verbose for the compiler's and the verifier's log, or ask for less with --level",
                    detail=_text(log),
                ) from error
        give_back_compiler()

    def close(self) -> None:
        """Detach everything; harmless when done twice."""
        if self._bpf is not None:
            self._bpf.cleanup()
            self._bpf = None
        self._hotplug.close()

    def _load(self, bcc: Any) -> None:  # noqa: ANN401 (BCC has no types)
        folder = sources()
        flags = [f"-D{name}={_literal(value)}" for name, value in self._plan.macros.items()]
        with header_tree(self._release) as tree, _environment(BCC_KERNEL_SOURCE=str(tree), ARCH=None):
            text = (folder / self._plan.program).read_bytes()
            self._bpf = bcc.BPF(text=text, cflags=[f"-I{folder}", "-w", *flags])
        for place, name in enumerate(self._plan.tail_calls):
            program = self._bpf.load_func(name.encode(), bcc.BPF.RAW_TRACEPOINT)
            self._bpf["stages"][ctypes.c_int(place)] = ctypes.c_int(program.fd)
        self._lib = bcc.lib
        # Before the first hook: what is counted must find a buffer.
        self._bpf["sightings"].open_perf_buffer(self._receive, page_cnt=buffer_pages(), lost_cb=self._lose)
        for hook in self._plan.hooks:
            self._attach(hook)

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
        elif hook.kind not in ("fentry", "fexit"):  # BCC has attached those: it knows such programs by their name
            raise ValueError(f"no program can be attached to {hook}")

    def _receive(self, _cpu: int, data: int, size: int) -> None:
        # Copies and nothing else: an exception in a callback from C would be printed and forgotten.
        self._records.append(ctypes.string_at(data, size))

    def _lose(self, count: int) -> None:
        self._lost += count

    def fds(self) -> list[int]:
        """Return the file descriptors to wait on: readable means that `read` has something. CPUs may come."""
        readers = map(self._lib.perf_reader_fd, self._bpf.perf_buffers.values())
        return [*readers, *self._hotplug.fds()]

    def read(self) -> list[bytes]:
        """Return the records that have arrived since the last call, without waiting.

        BCC's own perf_buffer_poll() polls, and poll(2) on a perf buffer says only once that it is readable: who has
        waited on `fds` must not be asked to wait again. (BCC 0.18 has no perf_buffer_consume().)
        """
        for reader in self._bpf.perf_buffers.values():
            self._lib.perf_reader_event_read(ctypes.c_void_p(reader))
        for cpu in self._hotplug.came():
            with suppress(ProbeError):  # gone again: what dies there is missing from the books, and will be said to be
                self._renew(cpu)
        records, self._records = self._records, []
        return records

    def kill_count(self) -> int:
        """Return how many kills the kernel has counted since the probes were attached, whether delivered or lost."""
        return int(self._bpf["tally"][0].kills)

    def _renew(self, cpu: int) -> None:
        """Open the buffer of a CPU that has come: it was not there at start, or has been away and its buffer is dead.

        BCC's open_perf_buffer() opens those of all CPUs. What dies there before we get here is lost, but counted.
        """
        table, buffers = self._bpf["sightings"], self._bpf.perf_buffers
        old = buffers.pop((id(table), cpu), None)
        wakeup = (1,) if "wakeup_events" in table._open_perf_buffer.__code__.co_varnames else ()  # since BCC 0.21
        try:
            table._open_perf_buffer(cpu, self._receive, buffer_pages(), self._lose, *wakeup)
        except Exception as error:  # BCC raises nothing narrower
            raise ProbeError(f"no buffer can be opened for CPU {cpu}: {error}") from error
        finally:
            if old:  # only now: two have never the same file descriptor
                self._lib.perf_reader_free(ctypes.c_void_p(old))

    def lost_records(self) -> int:
        """Return how many records were lost since the start: the buffer was full."""
        return self._lost


def buffer_pages(cpus: int | None = None) -> int:
    """Return the size of each CPU's perf buffer, in pages: a power of two, 256 KiB to 1 MiB."""
    each = min(max(BUFFERS // (cpus or os.cpu_count() or 1), 256 << 10), 1 << 20)
    return 1 << (each // os.sysconf("SC_PAGE_SIZE")).bit_length() - 1


def _literal(value: int) -> str:
    return f"{value}ULL" if value >= 1 << 63 else str(value)


@contextmanager
def _environment(**changes: str | None) -> Iterator[None]:
    """Set or unset environment variables for a while: BCC takes its settings from there alone."""
    before = {name: os.environ.get(name) for name in changes}
    _set_environment(changes)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def _captured_output() -> Iterator[int]:
    """Send what C code prints on stdout and stderr to a file without a name: stdout is for records only."""
    with os.fdopen(os.memfd_create("oomtrace"), "w+b") as log:
        saved = [(fd, os.dup(fd)) for fd in (1, 2)]
        try:
            for fd, _ in saved:
                os.dup2(log.fileno(), fd)
            yield log.fileno()
        finally:
            for fd, copy in saved:
                os.dup2(copy, fd)
                os.close(copy)


def _text(fd: int) -> str:
    with suppress(OSError):
        return os.pread(fd, 1 << 20, 0).decode("utf-8", "backslashreplace")
    return ""
