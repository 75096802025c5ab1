# SPDX-License-Identifier: Apache-2.0
"""Metrics as a file for the textfile collector of node_exporter, replaced as a whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ooMtrace.output.sink import LaterError

CHANGED = b"\0"
"""Queued for each record: several that wait are written at once."""


class TextFile:
    """Writes the newest metrics. The collector reads only files whose names end in `.prom`.

    Args:
        name: The name for messages.
        path: The file.
        text: Returns its content.
    """

    def __init__(self, name: str, path: Path, text: Callable[[], bytes]) -> None:
        self.name = name
        self._path = path
        self._text = text

    def connect(self) -> None:
        """Write the file for the first time."""
        self._write()

    def send(self, messages: Sequence[bytes]) -> int:
        """Write the file, for all messages at once."""
        self._write()
        return len(messages)

    def abort(self) -> None:
        """Nothing to end: a file system that hangs cannot be interrupted."""

    def close(self) -> None:
        """The file stays: counters survive until the next run."""

    def _write(self) -> None:
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            draft.unlink(missing_ok=True)  # of an earlier run with our pid
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(draft, flags, 0o644), "wb") as file:
                os.fchmod(file.fileno(), 0o644)  # whatever the umask is: node_exporter is another user
                file.write(self._text())
            draft.replace(self._path)
        except OSError as error:
            raise LaterError(f"{self.name}: {error.strerror}") from error
