# SPDX-License-Identifier: Apache-2.0
"""What one run leaves to the next: up to which of the kernel's kills every one has been delivered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ooMtrace.reconcile.state_dir import StateDir

FORM = re.compile(r"oomtrace-state 1\nboot_id ([\w-]{1,64})\noom_kill (\d{1,18})\ntime ([\dT:.Z-]{1,40})\n")

FILE_NAME = "checkpoint"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A position in the kernel's count of kills.

    Attributes:
        boot_id: Of the boot that the count belongs to.
        oom_kill: Ordinal of the last kill up to which none is missing.
        time: When that was so, RFC 3339 UTC.
    """

    boot_id: str
    oom_kill: int
    time: str

    def ordinal_in(self, boot_id: str | None) -> int:
        """Return the ordinal in a boot: after another one the kernel counts from 0 again."""
        return self.oom_kill if boot_id == self.boot_id else 0

    def dump(self) -> bytes:
        """Return the checkpoint as text."""
        return f"oomtrace-state 1\nboot_id {self.boot_id}\noom_kill {self.oom_kill}\ntime {self.time}\n".encode()


def parse(text: bytes) -> Checkpoint | None:
    """Parse such a text; None if it is corrupt."""
    found = FORM.fullmatch(text.decode("ascii", "replace"))
    return Checkpoint(found[1], int(found[2]), found[3]) if found else None


class CheckpointStore:
    """The checkpoint of the last run, and a place for this run's.

    Args:
        directory: Where it is kept; None: nowhere.
        warn: Takes one line for the operator.

    Attributes:
        checkpoint: As last loaded or saved.
    """

    def __init__(self, directory: StateDir | None, warn: Callable[[str], None]) -> None:
        self._directory = directory
        text = directory.read(FILE_NAME) if directory else None
        self.checkpoint = None if text is None else parse(text)
        if text is not None and self.checkpoint is None:
            warn("state file is corrupt; kills since the last run cannot be reported: see `oomtrace logs`")

    def save(self, checkpoint: Checkpoint | None) -> None:
        """Write the checkpoint down, unless its position is the same as before.

        Raises:
            StateError: It cannot be written.
        """
        if self._directory is None or checkpoint is None:
            return
        last = self.checkpoint
        if last is None or (checkpoint.boot_id, checkpoint.oom_kill) != (last.boot_id, last.oom_kill):
            self._directory.write(FILE_NAME, checkpoint.dump())
            self.checkpoint = checkpoint


@contextmanager
def open_checkpoint(path: Path | None, warn: Callable[[str], None]) -> Iterator[CheckpointStore]:
    """Lock the state directory for this run, and load the checkpoint in it.

    Raises:
        StateError: The directory cannot be used.
    """
    if path is None:
        yield CheckpointStore(None, warn)
        return
    with StateDir(path) as directory:
        yield CheckpointStore(directory, warn)
