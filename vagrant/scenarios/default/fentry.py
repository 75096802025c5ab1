# SPDX-License-Identifier: Apache-2.0
"""A kernel that shows no kprobes: level `full` uses fentry instead. Started as a process that is never killed."""

import json
import subprocess
from pathlib import Path

from _kmsg import CLOCKS_APART_S, check_log, logs
from support.tracer import COMMAND

# A private mount hides the only place where a kernel shows that it has kprobes.
HIDE = "mount -t tmpfs none /sys/bus/event_source/devices && echo -1000 > /proc/$$/oom_score_adj && exec"


def hidden(*arguments: str) -> str:
    """Run the command where kprobes are not visible; return its output."""
    script = f"{HIDE} {COMMAND} {' '.join(arguments)}"
    return subprocess.run(["unshare", "--mount", "sh", "-c", script], check=True, capture_output=True, text=True).stdout


plan = json.loads(hidden("doctor", "--json"))["plan"]
assert plan["level"] == "full", plan
assert "fentry:oom_kill_process" in plan["hooks"], plan

line = json.loads(hidden("--require", "full", "demo"))
assert line["fidelity"] == "full", line
assert line["oom"]["constraint"] == "CONSTRAINT_MEMCG", line
assert line["oom"]["order"] == 0, line
assert line["oom"]["points"]["exact"] is True, line
assert line["derived"] == [], line
assert line["process"]["oom_score_adj"] == 0, line  # not inherited by the victim
# 5.10's compiler has split oom_badness(), and fexit attaches only to functions in the type information
if "oom_badness.part.0" not in Path("/proc/kallsyms").read_text():
    assert line["oom"]["candidates"][0]["pid"] == line["process"]["pid"], line


def same(what: str, got: object, expected: object) -> None:
    assert got == expected, what


print(check_log(logs(), [line], {line["process"]["tid"]: True}, 0, CLOCKS_APART_S, same))
