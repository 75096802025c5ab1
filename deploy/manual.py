# SPDX-License-Identifier: Apache-2.0
"""Print oomtrace(8) as roff, made of the same texts as `--help`, the schema and docs/usage.md.

    python3 -m deploy.manual > oomtrace.8

Its date is that of SOURCE_DATE_EPOCH, if set, so that the same tree gives the same page.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from deploy.command_line import SUMMARIES, all_options, operands_of, options_of
from ooMtrace import __version__
from ooMtrace.cli import DESCRIPTION, EXAMPLES, HELP, VERSION
from ooMtrace.record.json_schema import json_schema

ROOT = Path(__file__).parents[1]
USAGE = ROOT / "docs/usage.md"
WIDTH = 78
"""Bytes of a line of roff: `mandoc -T lint` reports those above 80."""
GLOBAL = {"help": HELP, "version": VERSION}

FILES = {
    "/proc/vmstat": "the kernel's count of kills, with which reported kills are reconciled",
    "/dev/kmsg": "the kernel log: the source at level `log`, and of kills that no probe has reported",
    "/sys/kernel/btf/vmlinux": "the kernel's type information, for the levels `full` and `reduced`",
    "DIR/checkpoint": "the kills that earlier runs have reported; DIR is that of `--state`",
}
CONFIGURATION = ("/etc/oomtrace.toml", "default values of the options")
ENVIRONMENT = {
    "CACHE_DIRECTORY": "where compiled BPF programs are kept, in place of /var/cache/oomtrace; systemd sets it for a "
    "unit with CacheDirectory=",
    "NODE_NAME": "in a pod, the name of the Kubernetes node: `host.name` and `k8s.node.name`; other text is ignored",
    "NO_COLOR": "no colours on a terminal, if it is not empty",
    "STATE_DIRECTORY": "the default of `--state`; systemd sets it for a unit with StateDirectory=",
    "TZ": "the time zone of dates without one, in kernel logs, `--since` and `--until`",
}


def manual() -> str:
    """Return the whole page."""
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    date = time.strftime("%Y-%m-%d", time.gmtime(epoch))
    parts = [
        f'.TH OOMTRACE 8 "{date}" "oomtrace {__version__}" "System Manager\'s Manual"',
        # no hyphenation and no justification: both would change what is to be typed
        ".nh\n.ad l",
        section("NAME", r"oomtrace \- trace the kernel's OOM killer"),
        section("SYNOPSIS", ".B oomtrace\n.RI [ COMMAND ]\n.RI [ OPTION \\ .\\|.\\|.]"),
        section("DESCRIPTION", roff(DESCRIPTION)),
        section("COMMANDS", *commands()),
        section("OPTIONS", roff("Options may stand before or after the command."), *options()),
        section("FIELDS", roff(FIELDS_INTRODUCTION), *fields("", json_schema())),
        section("EXIT STATUS", *(entry(code, meaning) for code, meaning in exit_codes())),
        section("SIGNALS", *(entry(names, effect) for names, effect in signals())),
        section("ENVIRONMENT", *(entry(name, text) for name, text in ENVIRONMENT.items())),
        section("FILES", *(entry(name, text) for name, text in files().items())),
        section("EXAMPLES", ".nf\n" + "\n".join(map(escaped, examples())) + "\n.fi"),
        section("SEE ALSO", ".BR dmesg (1),\n.BR proc (5),\n.BR cgroups (7)"),
    ]
    return "\n".join(parts) + "\n"


FIELDS_INTRODUCTION = (
    "A line is a JSON object with these fields; one that is unknown is absent. A name that ends with `[]` is an array."
    " `oomtrace schema` prints the full descriptions as a JSON Schema."
)


def section(title: str, *parts: str) -> str:
    """Return a section of paragraphs."""
    return "\n".join([f".SH {title}", *parts])


def entry(term: str, text: str) -> str:
    """Return a term, in bold, and what it means."""
    return f".TP\n.B {escaped(term)}\n{roff(text)}"


def roff(text: str) -> str:
    """Return prose, on lines of its own; what stands between backticks becomes bold."""
    parts = re.split(r"`([^`]+)`", " ".join(text.split()))
    marked = "".join(rf"\fB{inline(part)}\fP" if place % 2 else inline(part) for place, part in enumerate(parts))
    lines = textwrap.wrap(marked, WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(protected, lines))


def escaped(line: str) -> str:
    """Return a line that roff shows as it is."""
    return protected(inline(line))


def protected(line: str) -> str:
    """Return a line that is text, also if it begins like a request."""
    return rf"\&{line}" if line.startswith((".", "'")) else line


def inline(text: str) -> str:
    """Return text with plain quotes, hyphens and backslashes: what is copied from the page can be typed."""
    signs = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
    return "".join(signs.get(sign, sign) for sign in text)


def commands() -> Iterator[str]:
    """Yield an entry for each command, with the names of its options."""
    for name, summary in SUMMARIES.items():
        options, operands = options_of(name), operands_of(name)
        listed = f" Options: {alternatives(option.names[-1] for option in options)}." if options else ""
        also = f" Also {alternatives(GLOBAL[name])}." if name in GLOBAL else ""
        yield entry(" ".join([name, *(f"[{operand.value}...]" for operand in operands)]), f"{summary}.{listed}{also}")
        yield from (f".IP\n{roff(f'{operand.value}: {operand.help}')}." for operand in operands)


def alternatives(names: Iterable[str]) -> str:
    """Return names, in bold, as a list."""
    return ", ".join(f"`{name}`" for name in names)


def options() -> Iterator[str]:
    """Yield an entry for each option of any command, once."""
    for option, users in all_options().items():
        value = f" {option.value}" if option.value else ""
        yield entry(f"{', '.join(option.names)}{value}", f"{option.help} ({', '.join(users)})")


def fields(prefix: str, schema: dict[str, Any]) -> Iterator[str]:
    """Yield an entry for each field below a part of the schema, with its path in a line."""
    for name, part in schema.get("properties", {}).items():
        array = "[]" if part["type"] == "array" else ""
        path = f"{prefix}{name}{array}"
        inner = part.get("items", part)
        kind = f" ({' | '.join(part['enum'])})" if "enum" in part else ""
        yield entry(path, shortened(part.get("description", "")) + kind)
        yield from fields(f"{path}.", inner)


def shortened(text: str) -> str:
    """Return the first sentence of a description."""
    return re.split(r"[.;] ", text, maxsplit=1)[0].rstrip(".")


def exit_codes() -> list[tuple[str, str]]:
    """Return the table of exit codes in docs/usage.md."""
    return re.findall(r"^\| (\d+) \| (.+) \|$", USAGE.read_text(), re.MULTILINE)


def signals() -> list[tuple[str, str]]:
    """Return the list of signals in docs/usage.md, whose entries begin with their names."""
    found = re.findall(r"^- ([^:\n]*SIG[A-Z]+[^:\n]*): (.+(?:\n  .+)*)", USAGE.read_text(), re.MULTILINE)
    return [(names, re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)) for names, text in found]


def files() -> dict[str, str]:
    """Return the files that matter to an operator."""
    return {**FILES, **(dict([CONFIGURATION]) if (ROOT / "deploy/oomtrace.toml").exists() else {})}


def examples() -> list[str]:
    """Return the lines of the examples in `--help`."""
    return [line.strip() for line in re.findall(r"^  (?:sudo )?oomtrace .*$", EXAMPLES, re.MULTILINE)]


if __name__ == "__main__":
    sys.stdout.write(manual())
