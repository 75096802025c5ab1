# SPDX-License-Identifier: Apache-2.0
"""A bigger process with oom_score_adj -1000 survives."""

from _checks import at
from _stage import stage

with stage() as on:
    limited = on.cgroup(64)
    spared = on.victim("hold", limited, 40, adj=-1000).go()
    on.equal("spared", spared.said(), "holding")
    smaller = on.victim("hog", limited).go()
    smaller.end()
    (line,) = on.kills([smaller.pid])
    on.equal("verdict", at(line, "oom.verdict"), "killed")
    on.true("smaller", at(line, "process.memory.anon") < 30 << 20)
    on.equal("the bigger one lives", spared.process.poll(), None)
    on.equal("candidates", [one["pid"] for one in at(line, "oom.candidates")], [smaller.pid])
