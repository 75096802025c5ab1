# SPDX-License-Identifier: Apache-2.0
"""Load, attach and read the BPF programs."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from mmap import mmap

from ooMtrace.errors import CannotTraceError, ProbeError
from ooMtrace.kernel.plan import Hook, Plan
from ooMtrace.probe import libbcc_bpf
from ooMtrace.probe.captured_output import captured_output, read_output
from ooMtrace.probe.compiler import HINT, compile_image
from ooMtrace.probe.image import Image, MapDefinition
from ooMtrace.probe.image_cache import ImageCache
from ooMtrace.probe.perf_buffer import EVENTS, PerfBuffers

KINDS = {
    "kprobe": libbcc_bpf.KPROBE,
    "kretprobe": libbcc_bpf.KPROBE,
    "raw_tracepoint": libbcc_bpf.RAW_TRACEPOINT,
    "tracepoint": libbcc_bpf.TRACEPOINT,
    "fentry": libbcc_bpf.TRACING,
    "fexit": libbcc_bpf.TRACING,
}
TRACING_PREFIX = {"fentry": "kfunc__", "fexit": "kretfunc__"}

KILLS, ADJ_CHANGES = "kill_counter", "changes"
COUNTERS = (KILLS, ADJ_CHANGES)
"""Arrays whose only value begins with a count, of 8 bytes (bpf/count.h, bpf/adj_changes.bpf.c)."""

REFUSED = re.compile(r"Failed to load BPF program (?P<program>\w+): (?P<reason>.*)", re.DOTALL)
"""The error for a program that the kernel refuses; the reason is strerror(3)."""

SIZE = re.compile(r"too large \((?P<size>[0-9]{1,20}) insns\)")
"""On E2BIG, BCC prints the program's size in place of the verifier's log, even where the steps were too many."""

VERDICT = re.compile(r"^(?P<verdict>\S.*)\n+processed (?P<steps>[0-9]{1,20}) insns", re.MULTILINE)
"""The last line of the verifier's log before its statistics."""


class Probe:
    """The attached BPF programs of one plan, from construction to `close`.

    The kernel detaches them when the process ends, even by SIGKILL: they are held by file descriptors only.

    Args:
        plan: What to load and attach.
        release: The kernel's `uname -r`.
        cache: Holds compiled programs; None: compile.
        attach: Whether to attach them. Otherwise they are only loaded, as the verifier's answer is all that is wanted.
        warn: Takes one line about what can no longer be traced.

    Raises:
        CannotTraceError: BCC cannot be used.
        ProbeError: The compiler or the kernel rejected a program or a hook; `detail` has their log.
    """

    def __init__(
        self,
        plan: Plan,
        release: str,
        cache: ImageCache | None = None,
        *,
        attach: bool = True,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._plan = plan
        self._attach = attach
        self._warn = warn
        self._fds: list[int] = []
        self._buffers = PerfBuffers(plan.auxiliary_buffers, warn)
        self._counters: dict[str, mmap] = {}
        self.maps: dict[str, libbcc_bpf.Map] = {}
        self.program_fds: dict[str, int] = {}
        self._open(release, cache)

    def close(self) -> None:
        """Detach everything; a second call does nothing."""
        self._buffers.close()
        fds, self._fds = self._fds, []
        for fd in reversed(fds):  # what is attached before what it runs
            os.close(fd)
        for memory in self._counters.values():
            memory.close()
        self._counters.clear()
        self.maps.clear()
        self.program_fds.clear()

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
        return self.count(KILLS)

    def count(self, counter: str) -> int:
        """Return the count in one of COUNTERS."""
        value = self._counters.get(counter) or self.maps[counter].lookup(bytes(4)) or bytes(8)
        return int.from_bytes(value[:8], sys.byteorder, signed=True)

    def lost_records(self, buffer: str = EVENTS) -> int:
        """Return how many perf records did not fit into a buffer since the probes were attached."""
        return self._buffers.lost_records(buffer)

    def _open(self, release: str, cache: ImageCache | None) -> None:
        plan = self._plan
        image = cache.read(plan, release) if cache else None
        if cache and image:
            try:
                self._start(image)
            except ProbeError:
                cache.refuse("the kernel does not accept them")
                self._buffers = PerfBuffers(plan.auxiliary_buffers, self._warn)
            else:
                return
        image = compile_image(plan, release)
        self._start(image)
        if cache:
            cache.write(plan, release, image)

    def _start(self, image: Image) -> None:
        with captured_output() as log:
            try:
                self._load(image)
            except CannotTraceError:
                self.close()
                raise
            except ProbeError as error:
                self.close()
                raise _load_error(self._plan, error, read_output(log)) from error

    def _load(self, image: Image) -> None:
        for definition in image.maps:
            self.maps[definition.name] = libbcc_bpf.Map(self._create_map(definition), definition)
        load = self._loader(image)
        for index, name in enumerate(self._plan.tail_calls):
            fd = load(name, libbcc_bpf.RAW_TRACEPOINT)
            self.maps["tail_calls"].update(index.to_bytes(4, sys.byteorder), fd.to_bytes(4, sys.byteorder))
        names = {program.name for program in image.programs}
        hooks = [(hook, load(_program_name(hook, names), _kind(hook))) for hook in self._plan.hooks]
        if not self._attach:
            return
        self._buffers.open(self.maps)  # before the first hook: every kill that is counted must find an open buffer
        for hook, fd in hooks:
            self._own(libbcc_bpf.attach(hook.kind, hook.target, fd))

    def _create_map(self, definition: MapDefinition) -> int:
        """Create a map; a counter as memory that is read without bpf(2), where the kernel can (since 5.5).

        While a task is in bpf(2) for a map, its CPU runs no program on a kprobe or on a tracepoint's event
        (bpf_disable_instrumentation()). A preemptible kernel may interrupt the task there, and kills would be missed.
        """
        if definition.name in COUNTERS:
            with suppress(ProbeError, OSError):
                fd = self._own(libbcc_bpf.create_map(replace(definition, flags=definition.flags | libbcc_bpf.MMAPABLE)))
                self._counters[definition.name] = libbcc_bpf.map_memory(fd)
                return fd
        return self._own(libbcc_bpf.create_map(definition))

    def _loader(self, image: Image) -> Callable[[str, int], int]:
        """Return a function that loads a program of the image, given its name and type, and returns its descriptor."""
        map_fds = [self.maps[definition.name].fd for definition in image.maps]
        addresses = [self._plan.addresses[name] for name in image.addresses]
        programs = {program.name: program for program in image.programs}

        def load(name: str, kind: int) -> int:
            if name not in programs:
                raise ProbeError(f"the compiled BPF programs lack {name}")
            code = programs[name].relocated(map_fds, addresses)
            self.program_fds[name] = self._own(libbcc_bpf.load_program(kind, name, code))
            return self.program_fds[name]

        return load

    def _own(self, fd: int) -> int:
        self._fds.append(fd)
        return fd


def _kind(hook: Hook) -> int:
    if hook.kind not in KINDS:
        raise ProbeError(f"cannot attach a program to {hook}")
    return KINDS[hook.kind]


def _program_name(hook: Hook, names: set[str]) -> str:
    prefix = TRACING_PREFIX.get(hook.kind)
    if prefix is None:
        return hook.program
    qualified = f"{prefix}vmlinux__{hook.target}"  # since BCC 0.22
    return qualified if qualified in names else prefix + hook.target


def _load_error(plan: Plan, error: ProbeError, log: str) -> ProbeError:
    return ProbeError(f"level {plan.level}: {_refusal(error.fact, log) or error.fact}", HINT, detail=log)


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
