# SPDX-License-Identifier: Apache-2.0
"""Access to BCC: its import and its environment. The only module that imports BCC."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ooMtrace.errors import CannotTraceError
from ooMtrace.kernel.obstacles import Reason
from ooMtrace.probe import bcc_search


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
        file = getattr(bcc, "__file__", None)  # None of an empty directory, which Python takes for a package
        raise CannotTraceError(*(bcc_search.unrelated(file) if file else bcc_search.missing()))
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
