# SPDX-License-Identifier: Apache-2.0
"""Failures that the user can do something about: a fact, a hint, an exit code."""


class OomtraceError(Exception):
    """Base of all expected failures.

    Args:
        fact: What is wrong, in one line.
        hint: What to do about it, in one line.
        detail: A log that is shown only with `--verbose`.
    """

    exit_code = 1

    def __init__(self, fact: str, hint: str = "", detail: str = "") -> None:
        super().__init__(fact)
        self.fact = fact
        self.hint = hint
        self.detail = detail

    def __str__(self) -> str:
        """Return the one line that the user sees."""
        return f"{self.fact}; {self.hint}" if self.hint else self.fact


class UsageError(OomtraceError):
    """The command line is wrong."""

    exit_code = 2


class CannotTraceError(OomtraceError):
    """This host, or this user on it, cannot trace at the required level."""

    exit_code = 77


class BtfError(OomtraceError):
    """The kernel's type information is missing or corrupt."""


class ProbeError(OomtraceError):
    """The kernel or the compiler refused a probe."""


class DecodeError(OomtraceError):
    """A perf record does not have the layout of bpf/events.h."""


class SinkError(OomtraceError):
    """The output cannot be opened or written."""


class StateError(OomtraceError):
    """The state directory cannot be used."""
