# SPDX-License-Identifier: Apache-2.0
"""What one run leaves to the next: up to which of the kernel's kills every one has been delivered."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ooMtrace.errors import StateError
from ooMtrace.kernel.clock import Clock
from ooMtrace.kernel.kill_counter import read_kill_count
from ooMtrace.reconcile.state_dir import StateDir, StateUnavailableError

FORM = re.compile(
    r"oomtrace-state 1\n"
    r"boot_id (?P<boot_id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\n"
    r"oom_kill (?P<oom_kill>[0-9]{1,18})\n"
    r"time (?P<time>(?P<second>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?Z)\n"
)

FILE_NAME = "checkpoint"

RETRY_NS = 1_000_000_000
"""From one failed attempt to save to the next, at least."""

NOT_REPORTED = "kills since the last run cannot be reported: see `oomtrace logs`"


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

    def is_at(self, other: Checkpoint | None) -> bool:
        """Say whether the other one has the same position."""
        return other is not None and (self.boot_id, self.oom_kill) == (other.boot_id, other.oom_kill)

    def dump(self) -> bytes:
        """Return the checkpoint as text."""
        return f"oomtrace-state 1\nboot_id {self.boot_id}\noom_kill {self.oom_kill}\ntime {self.time}\n".encode()


def parse(text: bytes) -> Checkpoint | None:
    """Parse such a text; None if it is corrupt."""
    found = FORM.fullmatch(text.decode("ascii", "replace"))
    if not found:
        return None
    try:
        datetime.fromisoformat(found["second"])
    except ValueError:  # the 30th of February
        return None
    return Checkpoint(found["boot_id"], int(found["oom_kill"]), found["time"])


class CheckpointStore:
    """The checkpoint of the last run, and a place for this run's. What cannot be saved is tried again by `save`.

    Args:
        path: The state directory; None: no checkpoint is kept.
        warn: Takes one line for the operator.
        proc: Where the kernel's counter is.
        clock: Decides when to try again.

    Attributes:
        checkpoint: As last loaded or saved.

    Raises:
        StateError: The path is not a directory that can be used. One that is only unavailable now is reported.
    """

    def __init__(
        self, path: Path | None, warn: Callable[[str], None], *, proc: Path = Path("/proc"), clock: Clock = time
    ) -> None:
        self._path = path
        self._warn = warn
        self._clock = clock
        self._directory: StateDir | None = None
        self._pending: Checkpoint | None = None
        self._next_attempt = 0
        self._is_failing = False
        self._is_reported = False
        self.checkpoint = self._load(path, proc) if path else None

    def save(self, checkpoint: Checkpoint | None) -> None:
        """Write the checkpoint down, unless its position is the same as before.

        A failure is reported once; a later call saves the checkpoint, but not within RETRY_NS, or `close` does.
        """
        if self._path is None or checkpoint is None:
            return
        self._pending = None if checkpoint.is_at(self.checkpoint) else checkpoint
        if self._clock.monotonic_ns() >= self._next_attempt:
            self._save_pending(self._path)

    def close(self) -> None:
        """Save what could not be saved before, and unlock the directory."""
        if self._path is not None:
            self._save_pending(self._path)
        if self._directory is not None:
            self._directory.close()

    def _load(self, path: Path, proc: Path) -> Checkpoint | None:
        try:
            self._directory = StateDir(path)
            text = self._directory.read(FILE_NAME)
        except StateError as error:
            if self._directory is None and not isinstance(error, StateUnavailableError):
                raise
            self._is_failing = self._directory is None  # a file that cannot be read can be replaced
            self._is_reported = True
            self._warn(f"{error.fact}; tracing without the checkpoint; {NOT_REPORTED}")
            return None
        found = parse(text) if text is not None else None
        if text is not None and (found is None or not _is_possible(found, proc)):
            self._warn(f"state file is corrupt; {NOT_REPORTED}")
            return None
        return found

    def _save_pending(self, path: Path) -> None:
        if self._pending is None:
            return
        try:
            self._write(path, self._pending.dump())
        except StateError as error:
            self._next_attempt = self._clock.monotonic_ns() + RETRY_NS
            if not self._is_reported:
                self._warn(f"cannot save the checkpoint ({error.fact}); until it is saved, a restart repeats lines")
            self._is_failing = self._is_reported = True
            return
        self.checkpoint, self._pending = self._pending, None
        if self._is_failing:
            self._is_failing = self._is_reported = False
            self._warn(f"{path}: the checkpoint is saved again")

    def _write(self, path: Path, text: bytes) -> None:
        """Write the file; in a new directory if the one that was used has been removed."""
        if self._directory is not None and self._directory.is_removed():
            self._directory.close()
            self._directory = None
        if self._directory is None:
            self._directory = StateDir(path)
        self._directory.write(FILE_NAME, text)


def _is_possible(checkpoint: Checkpoint, proc: Path) -> bool:
    """Say whether the kernel can have counted so far: a position of this boot must not be ahead of its counter."""
    try:
        boot_id = (proc / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # a container may hide it
        return True
    count = read_kill_count(proc)
    return count is None or checkpoint.ordinal_in(boot_id) <= count


@contextmanager
def open_checkpoint(path: Path | None, warn: Callable[[str], None]) -> Iterator[CheckpointStore]:
    """Lock the state directory for this run, and load the checkpoint in it.

    Raises:
        StateError: The path is not a directory that can be used.
    """
    store = CheckpointStore(path, warn)
    try:
        yield store
    finally:
        store.close()
