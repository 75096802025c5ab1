# SPDX-License-Identifier: Apache-2.0
"""What the operator may choose. Every module that needs a setting imports it from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Level = Literal["full", "reduced", "minimal", "log"]
"""How much can be known of a kill on a host, from the most to the least; a line states it as its `fidelity`."""

LEVELS: tuple[Level, ...] = get_args(Level)[::-1]
"""From the least to the most."""

CmdlineMode = Literal["full", "redacted", "none"]
"""Titles and arguments in a line: as they are; with secrets replaced; neither read nor reported."""

CMDLINE_MODES: tuple[CmdlineMode, ...] = get_args(CmdlineMode)

SigkillMode = Literal["memory-killers", "all", "none"]
"""Whose SIGKILLs are reported: those of userspace memory killers, those of any process, or none."""

SIGKILL_MODES: tuple[SigkillMode, ...] = get_args(SigkillMode)

MEMORY_KILLERS = ("systemd-oomd", "earlyoom", "nohang", "oomd", "lmkd", "bustd")
"""Names (comm) of the memory killers that are known without being listed."""

MAX_MEMORY_KILLERS = 16
"""How many names may be added to them."""


NameSource = Literal["docker", "podman", "cri", "kubelet", "api"]
"""APIs that may be asked for the names of containers."""

NAME_SOURCES: tuple[NameSource, ...] = get_args(NameSource)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to trace and what a line may contain; each field has the name of its command line option.

    Attributes:
        level: Try no higher level than this.
        require: Fail below this level; None: take what can be had.
        all: Report processes that were already dying, too.
        lifecycle: Report the exits of victims, too.
        env: Names of the environment variables that a line may contain; `*` and `?` are wildcards.
        cmdline: What a line may contain of process titles and arguments.
        network: Whether the addresses of the victim's network namespace are looked up.
        services: Port number -> name of the service there, before all other names.
        names_from: APIs that are asked for the names of containers, beside the runtimes' files.
        timeout_factor: Multiplies the time that a line waits for the events that belong to it.
        sigkill: Whose SIGKILLs are reported; None: the memory killers', without a message where that is impossible.
        memory_killers: Names of further memory killers; the kernel cuts names to 15 bytes.
    """

    level: Level = "full"
    require: Level | None = None
    all: bool = False
    lifecycle: bool = False
    env: tuple[str, ...] = ()
    cmdline: CmdlineMode = "redacted"
    network: bool = True
    services: Mapping[int, str] = field(default_factory=dict)
    names_from: tuple[NameSource, ...] = ()
    timeout_factor: float = 1.0
    sigkill: SigkillMode | None = None
    memory_killers: tuple[str, ...] = ()
