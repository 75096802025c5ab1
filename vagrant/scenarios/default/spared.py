# SPDX-License-Identifier: Apache-2.0
"""A bigger process with oom_score_adj -1000 survives."""

from _scenario import scenario
from _tolerances import at

with scenario() as run:
    limited = run.cgroup(64)
    spared = run.victim("hold", limited, 40, adj=-1000).go()
    run.equal("holder", spared.said(), "holding")
    smaller = run.victim("hog", limited).go()
    smaller.end()
    (line,) = run.kills([smaller.pid])
    run.equal("verdict", at(line, "oom.verdict"), "killed")
    run.true("smaller", at(line, "process.memory.anon") < 30 << 20)
    run.equal("the bigger process lives", spared.process.poll(), None)
    run.equal("candidates", [candidate["pid"] for candidate in at(line, "oom.candidates")], [smaller.pid])
