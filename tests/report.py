# SPDX-License-Identifier: Apache-2.0
"""`make test-report`: a report of 100,000 lines in time and memory, and in a browser. Exit 0 if all is well.

    PYTHONPATH=tests .venv/bin/python tests/report.py AXE_JS FOLDER

The screenshots in FOLDER are for a person to look at.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from support.chromium import Chromium
from support.fleet import fleet_lines

from ooMtrace.output.encode import dump_line

LINES = 100_000
MOST_S, MOST_BYTES = 30, 500 << 20
WIDTHS, SCHEMES = (375, 1280), ("light", "dark")
AXE = """axe.run(document, {resultTypes: ["violations", "incomplete"]}).then(
    found => found.violations.map(one => one.id + ": " + one.nodes.map(node => node.html.slice(0, 200)).join(" | ")))"""
OPEN_ALL = "document.querySelectorAll('details').forEach(one => { one.open = true; })"
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
FOCUSABLE = "[...document.querySelectorAll('a, summary, [tabindex]')].filter(one => one.tabIndex === 0).length"


def main() -> None:
    """Make the lines and the page, measure, and look at it."""
    axe, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "report.html"
    with TemporaryDirectory(prefix="oomtrace-report-") as scratch:
        lines = Path(scratch) / "fleet.log"
        with lines.open("wb") as file:
            for line in fleet_lines(LINES):
                file.write(dump_line(line))
        measure(lines, page)
        with Chromium(Path(scratch) / "profile") as browser:
            found = [
                one for width in WIDTHS for scheme in SCHEMES for one in look(browser, page, axe, folder, width, scheme)
            ]
    print(*found, sep="\n")
    sys.exit(1 if found else 0)


def measure(lines: Path, page: Path) -> None:
    """Make the page with limits on its time and its memory."""
    begin = time.monotonic()
    command = [sys.executable, "-m", "ooMtrace", "report", str(lines), "--output", str(page)]
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall, cpu, peak = time.monotonic() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10
    print(
        f"{LINES:,} lines, {lines.stat().st_size >> 20} MiB: {cpu:.1f} s of CPU time, {wall:.1f} s,"
        f" {peak / (1 << 20):.0f} MiB resident at most; page of {page.stat().st_size:,} bytes"
    )
    assert process.returncode == 0
    assert cpu <= MOST_S, "too slow"
    assert peak <= MOST_BYTES, "too large"


def look(browser: Chromium, page: Path, axe: Path, folder: Path, width: int, scheme: str) -> list[str]:
    """Return what is wrong with the page on this screen; take screenshots."""
    browser.look(width, scheme)
    browser.open(page)
    browser.screenshot(folder / f"{width}-{scheme}.png")
    found: list[Any] = [f"console: {one}" for one in browser.complaints()]
    found += [f"request: {one}" for one in browser.requests() if one not in (page.absolute().as_uri(), "data:,")]
    if over := browser.value(TOO_WIDE):
        found.append(f"the page is {over} pixels wider than the screen")
    browser.value(OPEN_ALL)
    browser.screenshot(folder / f"{width}-{scheme}-open.png")
    focusable = browser.value(FOCUSABLE)
    browser.value(axe.read_text() + "\n;0")
    found += [f"axe: {one}" for one in browser.value(AXE)]
    print(f"{width} px, {scheme}: {focusable} places for the keyboard, {len(found)} complaints")
    return [f"{width} px, {scheme}: {one}" for one in found]


if __name__ == "__main__":
    main()
