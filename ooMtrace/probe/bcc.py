# SPDX-License-Identifier: Apache-2.0
"""Access to BCC: its import, its environment and what it prints. The only module that imports BCC."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ooMtrace.errors import CannotTraceError, ProbeError
from ooMtrace.kernel.obstacles import Reason
from ooMtrace.probe import bcc_search

LIMITS = "raise the limit on open files: ulimit -n 1024"
MAX_OUTPUT = 1 << 20
"""Bytes of BCC's output that are kept."""


def import_bcc() -> Any:  # noqa: ANN401 (BCC has no types)
    """Return BCC's Python module.

    Raises:
        CannotTraceError: It is not installed, its library cannot be loaded, or another package has its name.
    """
    try:
        with warnings.catch_warnings():  # Python 3.12 and later warn about escape sequences in BCC's source
            warnings.simplefilter("ignore", SyntaxWarning)
            import bcc
    except ModuleNotFoundError as error:
        if error.name == "bcc":
            raise CannotTraceError(*bcc_search.missing()) from error
        raise CannotTraceError(*_not_importable(error)) from error
    except Exception as error:
        raise CannotTraceError(*_not_importable(error)) from error
    if not hasattr(bcc, "BPF"):
        raise CannotTraceError(*bcc_search.unrelated(bcc.__file__ or "the module bcc"))
    return bcc


def _not_importable(error: Exception) -> Reason:
    """Return why a module `bcc` that exists cannot be imported: it may be another project, or lack its library."""
    spec = find_spec("bcc")
    if spec and spec.origin and bcc_search.is_unrelated(Path(spec.origin)):
        return bcc_search.unrelated(spec.origin)
    return Reason(f"BCC cannot be loaded ({error})", f"install it again: {bcc_search.install_command()}")


def bcc_version() -> str:
    """Return the version of BCC's Python module; raises CannotTraceError as `import_bcc` does."""
    return str(import_bcc().__version__)


def bcc_problem() -> Reason | None:
    """Return why BCC cannot be used, and what to do; None if it can be used."""
    try:
        import_bcc()
    except CannotTraceError as error:
        return Reason(error.fact, error.hint)
    return None


@contextmanager
def environment(**changes: str | None) -> Iterator[None]:
    """Set environment variables, or unset those that are None, and restore them at the end.

    BCC reads some of its settings from the environment only.
    """
    before = {name: os.environ.get(name) for name in changes}
    _update_environment(changes)
    try:
        yield
    finally:
        _update_environment(before)


def _update_environment(changes: dict[str, str | None]) -> None:
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def captured_output() -> Iterator[int]:
    """Redirect file descriptors 1 and 2 to a memory file; yield its descriptor, for `read_output`.

    BCC, LLVM and libbpf print from C, and stdout is for lines only.

    Raises:
        ProbeError: There are too few file descriptors.
    """
    with ExitStack() as stack:
        try:
            log = os.memfd_create("oomtrace")
            stack.callback(os.close, log)
            for fd in (1, 2):
                saved = os.dup(fd)
                stack.callback(os.close, saved)
                stack.callback(os.dup2, saved, fd)
                os.dup2(log, fd)
        except OSError as error:
            raise ProbeError(f"the compiler's output cannot be redirected: {error.strerror}", LIMITS) from error
        yield log


def read_output(fd: int) -> str:
    """Return the captured output, of more than a MiB the first and the last half; "" if it cannot be read."""
    with suppress(OSError):
        start = os.pread(fd, MAX_OUTPUT // 2, 0)
        rest = max(os.fstat(fd).st_size - MAX_OUTPUT // 2, len(start))  # the verifier's verdict is at the end
        return (start + os.pread(fd, MAX_OUTPUT // 2, rest)).decode("utf-8", "backslashreplace")
    return ""


def load_only(bcc: Any) -> Any:  # noqa: ANN401 (BCC has no types)
    """Return a replacement of `bcc.BPF` that loads what it is asked to attach, and attaches nothing."""

    def loader(kind: str) -> Any:  # noqa: ANN401
        return lambda bpf, fn_name, **_: bpf.load_func(fn_name, getattr(bcc.BPF, kind))

    kinds = {
        "attach_kprobe": "KPROBE",
        "attach_kretprobe": "KPROBE",
        "attach_kfunc": "TRACING",
        "attach_kretfunc": "TRACING",
        "attach_tracepoint": "TRACEPOINT",
        "attach_raw_tracepoint": "RAW_TRACEPOINT",
    }
    return type("LoadOnly", (bcc.BPF,), {name: loader(kind) for name, kind in kinds.items()})
