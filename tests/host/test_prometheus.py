# SPDX-License-Identifier: Apache-2.0
"""Metrics of real kills, read by a real Prometheus over HTTP and from a file."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.packages import program as debian_program
from support.receivers import wait_for
from support.storm import storm
from support.tracer import RunningTracer

CONFIG = """
global: {{scrape_interval: 200ms}}
scrape_configs:
  - job_name: oomtrace
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
QUERY = "sum by (scope, verdict) (oomtrace_kills_total)"


def kills(text: str) -> int:
    return sum(int(value) for value in re.findall(r"^oomtrace_kills_total\{.*\} (\d+)$", text, re.MULTILINE))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as response:
        return response.read().decode()


@contextmanager
def prometheus(folder: Path, scraped: int) -> Iterator[str]:
    """Run Prometheus, and yield the URL of its queries."""
    path, more = debian_program("/usr/bin/prometheus", "prometheus")
    port = free_port()
    (folder / "prometheus.yml").write_text(CONFIG.format(port=scraped))
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    process = subprocess.Popen(
        [path, *options, f"--web.listen-address=127.0.0.1:{port}"],
        env={**os.environ, **more},
        cwd=folder,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}/api/v1/query?query="
    finally:
        process.kill()
        process.wait()


def query(url: str) -> list[dict[str, Any]]:
    try:
        return json.loads(get(url + urllib.request.quote(QUERY)))["data"]["result"]  # type: ignore[attr-defined]
    except (urllib.error.URLError, OSError):  # it is still starting
        return []


def count(tracer: RunningTracer) -> int:
    return sum(line["event"] == "oom_kill" for line in tracer.lines())


def test_prometheus_counts_as_many_kills_as_there_are_lines(tmp_path, cgroup, program):
    """Other processes may die meanwhile: a figure lies between the numbers of lines before and after it."""
    file, port = tmp_path / "oom.prom", free_port()
    options = ("--output", f"prometheus:{file}", "--output", f"prometheus+http://127.0.0.1:{port}")
    with RunningTracer(tmp_path, *options, repairs=True) as tracer, prometheus(tmp_path, port) as url:
        tracer.lines_of(storm(program, cgroup(), 50))
        first = count(tracer)
        wait_for(lambda: sum(int(one["value"][1]) for one in query(url)) >= first)
        wait_for(lambda: kills(file.read_text()) >= first)
        found, text = query(url), file.read_text()
        served, level = get(f"http://127.0.0.1:{port}/metrics"), tracer.reached_level()
        wait_for(lambda: count(tracer) >= kills(served))
        last = count(tracer)

    assert 50 <= first <= sum(int(one["value"][1]) for one in found) <= last
    assert first <= kills(text) <= last
    assert first <= kills(served) <= last
    assert ("memcg", "killed") in {(one["metric"]["scope"], one["metric"]["verdict"]) for one in found}
    assert f'oomtrace_level{{level="{level}"}} 1' in served
    path, more = debian_program("/usr/bin/promtool", "prometheus")
    done = subprocess.run(
        [path, "check", "metrics"],
        input=served,
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
