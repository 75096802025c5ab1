# SPDX-License-Identifier: Apache-2.0
"""The story that oomtrace exists for: a Sidekiq job vanishes, and only the line shows which one.

The job takes a lock and then more memory than its cgroup allows. No exception is raised, so no `ensure` runs: the lock
stays, the job was already taken off its queue, and the log ends after its start.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ooMtrace.kernel.scratch_cgroup import ScratchCgroup, scratch_cgroup

from .debian import Tree, tree

HOSTNAME = "web-worker-7d9f-abcde"
LIMIT = 200 << 20
LOCK = "lock:notify:42"
TIMEOUT_S = 120
# Redis knows the job only from the first heartbeat after its start on: first in a hash, which is `work` since
# Sidekiq 7 and was `workers` before, and then in the set.
WORKER = """\
require 'sidekiq'

class NotifyJob
  include Sidekiq::Worker

  def perform(id)
    lock = "lock:notify:#{id}"
    Sidekiq.redis { |redis| redis.set(lock, jid) }
    sleep 0.1 until Sidekiq.redis { |redis| redis.keys('*:work*').any? && redis.scard('processes') > 0 }
    hoard = []
    loop { hoard << 'x' * (1 << 20) }
  ensure
    Sidekiq.redis { |redis| redis.del(lock) }
  end
end
"""


class StoryError(Exception):
    """It did not go as it should."""


@dataclass(frozen=True, slots=True)
class Job:
    """What Redis knows of a job that a worker was running."""

    member: str
    """The worker's name in the set `processes`."""
    key: str
    """The hash in which the job was found."""
    jid: str
    name: str
    args: list[Any]


@dataclass(frozen=True, slots=True)
class Left:
    """How many jobs there are in Sidekiq's lists."""

    queued: int
    retry: int
    dead: int


@dataclass(frozen=True, slots=True)
class Story:
    """Redis is up and the job is enqueued."""

    place: Tree
    cgroup: ScratchCgroup
    port: int

    def run(self) -> int:
        """Start Sidekiq, wait for its kill and return its pid."""
        with self._log.open("w") as log, self._complaints.open("w") as complaints:
            sidekiq = self.place.start(
                *("ruby", "/usr/bin/sidekiq", "--require", "/srv/worker.rb", "--concurrency", "2", "--tag", "myapp"),
                hostname=HOSTNAME,
                cgroup=self.cgroup,
                env=self._env,
                stdout=log,
                stderr=complaints,
            )
        try:
            pid = self._member(sidekiq)
            sidekiq.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise self._wrong("Sidekiq was not killed") from error
        finally:
            _end(sidekiq)
        # not the exit status: that is unshare's, which translates signals in its own way
        if self.cgroup.oom_kills() != 1:
            raise self._wrong("Sidekiq ended by itself")
        return pid

    def log(self) -> list[str]:
        """Return Sidekiq's log."""
        return self._log.read_text().splitlines()

    def left(self) -> Left:
        """Return what Sidekiq's lists hold."""
        return Left(self.redis("llen", "queue:default"), self.redis("zcard", "retry"), self.redis("zcard", "dead"))

    def lock(self) -> tuple[str, int]:
        """Return who holds the lock, and for how many seconds more; -1: for ever."""
        return self.redis("get", LOCK), self.redis("ttl", LOCK)

    def job(self, join: str) -> Job:
        """Look up what a worker was running, by the start of its name; Sidekiq removes it after a minute."""
        found = [member for member in self.redis("smembers", "processes") if member.startswith(join)]
        if len(found) != 1:
            raise StoryError(f"{len(found)} of Sidekiq's processes begin with {join}")
        (member,) = found
        for key in (f"{member}:work", f"{member}:workers"):
            for work in self.redis("hgetall", key).values():
                payload = json.loads(json.loads(work)["payload"])
                return Job(member, key, payload["jid"], payload["class"], payload["args"])
        raise StoryError(f"Redis does not know what {member} was running")

    def enqueue(self) -> None:
        """Put the job on its queue."""
        self.place.run("ruby", "-r", "/srv/worker.rb", "-e", "NotifyJob.perform_async(42)", env=self._env)

    def redis(self, *command: str) -> Any:
        """Query Redis: not by TCP, so that the TCP connections are those of Sidekiq."""
        return json.loads(self.place.run("redis-cli", "--json", "-s", "/srv/redis.sock", *command))

    @property
    def _log(self) -> Path:
        return self.place.share / "sidekiq.log"

    @property
    def _complaints(self) -> Path:
        return self.place.share / "sidekiq.stderr"

    @property
    def _env(self) -> dict[str, str]:
        # -W0: this Sidekiq finds its Redis client too new, and would warn all the time
        return {"REDIS_URL": f"redis://127.0.0.1:{self.port}", "RUBYOPT": "-W0"}

    def _wrong(self, what: str) -> StoryError:
        return StoryError(f"{what}\n{self._log.read_text()}{self._complaints.read_text()}")

    def _member(self, sidekiq: subprocess.Popen[str]) -> int:
        """Wait for the one process in the cgroup and return its pid."""
        while not (pids := (self.cgroup.folder / "cgroup.procs").read_text().split()):
            if sidekiq.poll() is not None:
                raise self._wrong("Sidekiq did not start")
            time.sleep(0.01)
        return int(pids[0])


@contextmanager
def story(folder: Path) -> Iterator[Story]:
    """Set the story up in an empty folder, and remove everything afterwards."""
    place = tree(folder)
    (folder / "worker.rb").write_text(WORKER)
    with scratch_cgroup(f"oomtrace-story-{os.getpid()}") as cgroup:
        cgroup.limit(LIMIT)
        one = Story(place, cgroup, _free_port())
        with _redis(one):
            one.enqueue()
            yield one


@contextmanager
def _redis(one: Story) -> Iterator[None]:
    command = f"redis-server --bind 127.0.0.1 --port {one.port} --unixsocket /srv/redis.sock --logfile /srv/redis.log"
    server = one.place.start(*command.split(), "--save", "")
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while not (one.place.share / "redis.sock").exists():
            if server.poll() is not None or time.monotonic() > deadline:
                raise StoryError(f"Redis did not start; see {one.place.share}/redis.log")
            time.sleep(0.01)
        yield
    finally:
        _end(server)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
