# SPDX-License-Identifier: Apache-2.0
"""The limit is that of a slice: of the service's own, or of one further up."""

from _scenario import scenario
from _tolerances import at
from _units import GROW, MEMORY, check_systemd, ended, set_limit, start, stop

SHOP, WEB = "oomtrace-shop.slice", "oomtrace-shop-web.slice"
CASES = {"oomtrace-one.service": SHOP, "oomtrace-two.service": WEB}
PATHS = {SHOP: f"/oomtrace.slice/{SHOP}", WEB: f"/oomtrace.slice/{SHOP}/{WEB}"}

with scenario() as run:
    try:
        set_limit(SHOP, MEMORY)
        ends = []
        for unit, below in CASES.items():
            start(unit, GROW, f"Slice={below}")
            ends.append(ended(unit))
        lines = run.kills([int(each["ExecMainPID"]) for each in ends])
    finally:
        stop(*CASES, SHOP, WEB)
    for (unit, below), properties, line in zip(CASES.items(), ends, lines, strict=False):
        run.equal("path as systemd has it", at(line, "cgroup.path"), f"{PATHS[below]}/{unit}")
        run.equal("failed", properties["ActiveState"], "failed")
        check_systemd(run, line, {"unit": unit, "slice": below, "manager": "system"}, "slice")
        run.equal("whose limit", at(line, "oom.memcg.path"), PATHS[SHOP])
        run.equal("limit", at(line, "oom.memcg.limit"), MEMORY)
        run.true("the message names both", f" in {unit} was killed: slice limit" in line["message"])
