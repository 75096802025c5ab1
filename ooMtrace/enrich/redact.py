# SPDX-License-Identifier: Apache-2.0
"""Replaces what looks like a secret in every free text of the victim, so that secrets do not leave the host.

`redact_text.py` finds secrets: by their names (`redact_names.py`), by the conventions of the program that takes them
(`redact_tools.py`) and by their own shape (`redact_shapes.py`). This module knows where a record has text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ooMtrace.enrich import Enricher
from ooMtrace.enrich.redact_shapes import END
from ooMtrace.enrich.redact_text import MASK, redact_text, redact_variable
from ooMtrace.record import Connection, Endpoint, OomKill, Process
from ooMtrace.settings import CmdlineMode

__all__ = ["MASK", "redact", "with_redacted_cmdline"]

CMDLINE_FACTS = ("process.title", "process.command_args")


def redact(*, cmdline: CmdlineMode = "redacted") -> Enricher:
    """Return an enricher that replaces secrets with MASK, and lists the facts that it changed in `redacted`.

    Args:
        cmdline: What a line may contain of title and arguments. With `none` they are removed and listed in `withheld`;
            with `full` they stay as they are. Other facts are redacted in any case.
    """

    def enrich(kill: OomKill) -> OomKill:
        kill = _withhold(kill) if cmdline == "none" else kill
        process = _scrub_process(kill.process)
        if cmdline == "full":
            process = replace(process, title=kill.process.title, command_args=kill.process.command_args)
        return kill if process == kill.process else _with_redacted(replace(kill, process=process), kill)

    return enrich


def with_redacted_cmdline(add_job: Enricher) -> Enricher:
    """Return an enricher that derives the job from redacted titles and arguments, and leaves these as they are."""
    scrub = redact()

    def enrich(kill: OomKill) -> OomKill:
        return replace(kill, job=add_job(scrub(kill)).job)

    return enrich


def _withhold(kill: OomKill) -> OomKill:
    known = tuple(name for name in CMDLINE_FACTS if getattr(kill.process, name.removeprefix("process.")) is not None)
    # Listed even if unknown: then `missing` does not list it, and the line is the same whether it was read or not.
    withheld = kill.withheld or known or CMDLINE_FACTS[1:]
    return replace(kill, withheld=withheld, process=replace(kill.process, title=None, command_args=None))


def _facts(process: Process) -> dict[str, object]:
    """Return the facts that may contain a secret, in the order of the record."""
    return {
        "process.title": process.title,
        "process.command_args": process.command_args,
        "process.executable.path": process.executable and process.executable.path,
        "process.working_directory": process.working_directory,
        "process.connections": process.connections,
        "process.environment": process.environment,
    }


def _with_redacted(kill: OomKill, before: OomKill) -> OomKill:
    old, known = _facts(before.process), before.redacted or ()
    changed = [name for name, fact in _facts(kill.process).items() if fact != old[name] or name in known]
    return replace(kill, redacted=(*(name for name in known if name not in changed), *changed))


def _scrub_process(process: Process) -> Process:
    executable, arguments = process.executable, process.command_args
    return replace(
        process,
        title=_text(process.title),
        command_args=None if arguments is None else _arguments(arguments),
        executable=None if executable is None else replace(executable, path=_text(executable.path)),
        working_directory=_text(process.working_directory),
        connections=None if process.connections is None else tuple(map(_connection, process.connections)),
        environment=None if process.environment is None else _environment(process.environment),
    )


def _text(text: str | None) -> str | None:
    return None if text is None else redact_text(text)


def _arguments(arguments: tuple[str, ...]) -> tuple[str, ...]:
    before = "".join(END + argument for argument in arguments)
    after = redact_text(before)
    return arguments if after == before else tuple(after.split(END)[1:])


def _connection(connection: Connection) -> Connection:
    if connection.transport != "unix":
        return connection
    return replace(connection, local=_endpoint(connection.local), remote=_endpoint(connection.remote))


def _endpoint(endpoint: Endpoint | None) -> Endpoint | None:
    return None if endpoint is None else replace(endpoint, address=_text(endpoint.address))


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: redact_variable(name, value) for name, value in environment.items()}
