# SPDX-License-Identifier: Apache-2.0
"""Reads the names of containers in a thread: ahead of a kill, or for a kill that waits for them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from threading import Condition, Thread

from ooMtrace.enrich.container_names import Names, RuntimeFiles
from ooMtrace.enrich.name_cache import MAX_CONTAINERS, NameCache
from ooMtrace.kernel.clock import Clock

MAX_QUEUED = 1024
"""Containers that wait until their names are read; of more, the oldest are read at their kill only."""

EXISTING = ""
"""Stands for the ids of all containers that exist."""


@dataclass(slots=True)
class _Request:
    """A kill that waits for the names of its container, whether they are found or not."""

    id: str
    done: bool = False


class NameReader:
    """Reads into a cache, in one thread that exists only while there is something to read.

    If a file hangs, so does the thread; no other is started, and until it goes on no kill waits any more.

    Args:
        open_files: Returns access to the runtimes' files; called in the thread.
        cache: Where the names are stored.
        timeout_s: How long a kill waits for its names, in seconds.
        clock: Says when names were stored.
    """

    def __init__(
        self, open_files: Callable[[], RuntimeFiles], cache: NameCache, timeout_s: float, clock: Clock = time
    ) -> None:
        self._open_files = open_files
        self._files: RuntimeFiles | None = None
        self._cache = cache
        self._timeout_s = timeout_s
        self._clock = clock
        self._changed = Condition()
        self._thread: Thread | None = None
        self._is_stalled = False
        self._lists_existing = False
        self._request: _Request | None = None
        self._queue: OrderedDict[str, None] = OrderedDict()

    def read_existing(self) -> None:
        """Start to read the names of the containers that exist. Waits for them as a kill would."""
        with self._changed:
            self._lists_existing = True
            self._start()
            self._wait(lambda: self._thread is None)

    def read(self, id_: str) -> None:
        """Start to read the names of a container, without waiting."""
        with self._changed:
            self._enqueue((id_,))
            self._start()

    def find(self, id_: str) -> Names | None:
        """Return the names of a container. If they are not known, wait until they are read, but only for the time-out.

        None: they are unknown.
        """
        with self._changed:
            if id_ not in self._cache and not self._is_stalled:
                request = self._request = _Request(id_)
                self._start()
                self._wait(lambda: request.done)
                self._request = None
            return self._cache.get(id_)

    def has(self, id_: str) -> bool:
        """Return whether the names of a container are known."""
        with self._changed:
            return id_ in self._cache

    def mark_removed(self, id_: str) -> None:
        """Note that the cgroup of a container was removed."""
        with self._changed:
            self._queue.pop(id_, None)
            self._cache.mark_removed(id_, self._clock.monotonic_ns())

    def _wait(self, condition: Callable[[], bool]) -> None:
        if self._thread is not None and not self._changed.wait_for(condition, self._timeout_s):
            self._is_stalled = True

    def _enqueue(self, ids: Iterable[str]) -> None:
        for id_ in ids:
            self._queue[id_] = None
        while len(self._queue) > MAX_QUEUED:
            self._queue.popitem(last=False)

    def _start(self) -> None:
        if self._thread is not None:
            return
        self._thread = Thread(target=self._run, name="names", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the limit on threads is reached
            self._thread = None

    def _run(self) -> None:
        """Read until nothing is left."""
        files = self._files = self._files or self._open_files()
        while (job := self._next_job(files)) is not None:
            if job == EXISTING:
                existing = list(islice(files.container_ids(), MAX_CONTAINERS))
                names = Names()
            else:
                existing = []
                names = files.read_names(job)
            with self._changed:
                self._enqueue(existing)
                if names.is_known():
                    self._cache.store(job, names, self._clock.monotonic_ns())
                if self._request is not None and self._request.id == job:
                    self._request.done, self._request = True, None
                self._is_stalled = False
                self._changed.notify_all()

    def _next_job(self, files: RuntimeFiles) -> str | None:
        """Return the container to read next, or EXISTING; None: the thread ends."""
        with self._changed:
            if self._request is not None:
                return self._request.id
            if self._lists_existing:
                self._lists_existing = False
                return EXISTING
            if self._queue:
                return self._queue.popitem(last=False)[0]
            files.forget_lists()
            self._thread = None
            self._changed.notify_all()
            return None
