# SPDX-License-Identifier: Apache-2.0
"""The OOMPolicy= of a unit of the host's systemd, from unit files, drop-ins and systemd's configuration. Reads only.

As systemd.unit(5), systemd.service(5), systemd.scope(5), systemd-system.conf(5) and systemd.syntax(7) describe them. A
file that has been changed counts for systemd only after `daemon-reload`. Drop-ins of a unit's aliases are not read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ooMtrace.kernel.regular_file import read_regular_file
from ooMtrace.record.identity import OomPolicy

UNIT_DIRECTORIES = (
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "run/systemd/transient",
    "run/systemd/generator.early",
    "etc/systemd/system",
    "etc/systemd/system.attached",
    "run/systemd/system",
    "run/systemd/system.attached",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "run/systemd/generator.late",
)
"""Search path of the system manager, first the one that takes precedence."""

CONFIGURATION = ("etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd", "lib/systemd")
LIBRARIES = ("usr/lib/systemd", "lib/systemd", "usr/lib64/systemd")
"""Directories of libsystemd-shared-VERSION.so; Debian since 12 has it in usr/lib/ARCHITECTURE/systemd."""

POLICIES: dict[str, OomPolicy] = {"continue": "continue", "stop": "stop", "kill": "kill"}
SECTIONS = {".service": "Service", ".scope": "Scope"}
"""Units that have OOMPolicy=."""

SINCE = {".service": 243, ".scope": 253}
"""First version of systemd with OOMPolicy= for that type of unit."""

FALSE = frozenset({"0", "no", "n", "false", "f", "off"})

MAX_FILE = 256 << 10
MAX_FILES = 256
MAX_ENTRIES = 4096
MAX_NAMES = 64

SHARED_LIBRARY = re.compile(r"libsystemd-shared-(?P<version>[0-9]{3})[.0-9~a-z-]*\.so")
ASSIGNMENT = re.compile(r"(?P<key>[A-Za-z0-9]+)[ \t]*=[ \t]*(?P<value>.*)")

Assignments = dict[str, str]
"""The last value of each key."""


class _UnsettledError(Exception):
    """The files do not settle it: one is masked, unreadable or too large, or there are too many."""


def read_oom_policy(unit: str, root: Path = Path("/")) -> OomPolicy | None:
    """Return what systemd does after an OOM kill in a service or scope of the system manager.

    None if it is not certain: the unit has no file or is masked, a file cannot be read, or the default of this version
    of systemd is not known.

    Args:
        unit: Name of the unit, as systemd spells it.
        root: The host's file system.
    """
    suffix = Path(unit).suffix
    if suffix not in SECTIONS or "/" in unit:
        return None
    try:
        settings = _unit_settings(unit, SECTIONS[suffix], root)
        if "OOMPolicy" in settings:
            return POLICIES.get(settings["OOMPolicy"])
        if "Delegate" in settings and settings["Delegate"].lower() not in FALSE:
            return "continue"
        version = _version(root)
        return _default(root) if version is not None and version >= SINCE[suffix] else None
    except _UnsettledError:
        return None


def _unit_settings(unit: str, section: str, root: Path) -> Assignments:
    directories = [root / directory for directory in UNIT_DIRECTORIES]
    template = _template(unit)
    names = [unit, template] if template else [unit]
    fragment = next((path for name in names for path in _existing(directories, name)), None)
    if fragment is None:
        raise _UnsettledError
    drop_in_names = _drop_in_names(unit)
    drop_ins = [directory / f"{name}.d" for directory in directories for name in drop_in_names]
    drop_ins += [directory / f"{Path(unit).suffix[1:]}.d" for directory in directories]
    return _settings([fragment, *_drop_ins(drop_ins)], section, known={"OOMPolicy", "Delegate"}, in_unit=True)


def _default(root: Path) -> OomPolicy | None:
    """Return DefaultOOMPolicy=; only the first of the main files counts, and the drop-ins of all directories."""
    directories = [root / directory for directory in CONFIGURATION]
    main = list(islice(_existing(directories, "system.conf"), 1))
    paths = [*main, *_drop_ins([directory / "system.conf.d" for directory in directories])]
    settings = _settings(paths, "Manager", known={"DefaultOOMPolicy"}, in_unit=False)
    return POLICIES.get(settings.get("DefaultOOMPolicy", "stop"))


def _template(unit: str) -> str | None:
    """Return `foo@.service` for `foo@bar.service`."""
    stem, suffix = Path(unit).stem, Path(unit).suffix
    name, at, instance = stem.partition("@")
    return f"{name}@{suffix}" if at and instance else None


def _drop_in_names(unit: str) -> list[str]:
    """Return the names whose drop-ins apply, as unit_file_expand_dropin_names() in systemd: first the most specific.

    Those of the unit, of its template, and of prefixes that end with a dash: `foo-.service` for `foo-bar.service`.
    """
    names: dict[str, None] = {}

    def add(name: str) -> None:
        if name in names:
            return
        if len(names) == MAX_NAMES:
            raise _UnsettledError
        names[name] = None
        template = _template(name)
        if template:
            add(template)
        suffix = Path(name).suffix
        prefix, _, instance = Path(name).stem.partition("@")
        shorter = prefix.removesuffix("-").rpartition("-")[0]
        if shorter:
            add(f"{shorter}-{'@' if template else ''}{instance if template else ''}{suffix}")

    add(unit)
    return list(names)


def _existing(directories: list[Path], name: str) -> Iterator[Path]:
    """Yield where a file exists; also one that is masked."""
    return (path for directory in directories if os.path.lexists(path := directory / name))


def _drop_ins(directories: list[Path]) -> list[Path]:
    """Return the files, in the order of their names whatever their directory; of one name, the first directory's."""
    found: dict[str, Path] = {}
    for directory in directories:
        for name in _entries(directory):
            if name.endswith(".conf") and not name.startswith("."):
                found.setdefault(name, directory / name)
    if len(found) > MAX_FILES:
        raise _UnsettledError
    return [found[name] for name in sorted(found) if not _is_masked(found[name])]


def _entries(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            found = [entry.name for entry in islice(entries, MAX_ENTRIES + 1)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _UnsettledError from error
    if len(found) > MAX_ENTRIES:
        raise _UnsettledError
    return found


def _is_masked(path: Path) -> bool:
    try:
        return str(path.readlink()) == os.devnull
    except OSError:  # no link
        return False


def _settings(paths: list[Path], section: str, known: set[str], *, in_unit: bool) -> Assignments:
    """Return the last assignments; values that are no policy are ignored, as systemd does."""
    settings: Assignments = {}
    for path in paths:
        content = _read(path)
        if in_unit and path is paths[0] and not content.strip():
            raise _UnsettledError  # an empty unit file masks the unit
        for key, value in assignments(content, section):
            is_policy = key.endswith("OOMPolicy")
            if key in known and (not is_policy or value in POLICIES or not value):
                settings[key] = value
    return settings


def _read(path: Path) -> str:
    try:
        content = read_regular_file(path, MAX_FILE + 1)
    except OSError as error:  # also the link to /dev/null of a masked unit
        raise _UnsettledError from error
    if len(content) > MAX_FILE:
        raise _UnsettledError
    return content.decode("utf-8", "replace")


def assignments(content: str, section: str) -> Iterator[tuple[str, str]]:
    """Yield key and value of each assignment in a section of a file in the syntax of systemd.syntax(7)."""
    current = ""
    for line in _logical_lines(content):
        if line.startswith("["):
            current = line[1:-1] if line.endswith("]") else ""
        elif current == section and (found := ASSIGNMENT.fullmatch(line)):
            yield found["key"], found["value"]


def _logical_lines(content: str) -> Iterator[str]:
    """Yield lines without comments; one that ends with a backslash continues in the next that is no comment."""
    parts: list[str] = []
    for raw in content.split("\n"):
        line = raw.strip(" \t\r")
        if line.startswith(("#", ";")) or (not line and not parts):
            continue
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        yield " ".join([*parts, line]).strip()
        parts = []
    if parts:
        yield " ".join(parts).strip()


def _version(root: Path) -> int | None:
    """Return systemd's version, from the name of the library that all of its programs load; None: not known."""
    found: set[int] = set()
    for directory in (*(root / path for path in LIBRARIES), *_architecture_directories(root / "usr/lib")):
        names = (SHARED_LIBRARY.fullmatch(name) for name in _entries(directory))
        found.update(int(name["version"]) for name in names if name)
    return found.pop() if len(found) == 1 else None


def _architecture_directories(libraries: Path) -> Iterator[Path]:
    """Yield usr/lib/x86_64-linux-gnu/systemd and its like."""
    return (libraries / name / "systemd" for name in _entries(libraries) if name.endswith(("-linux-gnu", "-gnueabihf")))
