#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs oomtrace's wheel as a user would and runs this machine's scenarios one by one. Each leaves
# its output in /out/NAME.log, its files in /out/NAME/, and one line in /out/results.tsv:
# name, exit status, seconds.

# A skip is a failure here: these kernels have what the scenarios ask for.
# A scenario over its time limit gets SIGABRT, and Python then prints where it was.
export OOMTRACE_REQUIRE_KERNEL=1 PYTHONFAULTHANDLER=1 PYTHONPATH=/payload/scenarios:/payload
export VICTIM=/payload/victim TRACERS=/out/tracers OOMTRACE_TREE=/

now() { cut -d' ' -f1 /proc/uptime; }

step() { # step NAME COMMAND...: run it, and it alone, at an ordinary OOM score and note how it went
    name=$1
    shift
    began=$(now)
    OUT=/out/$name timeout -s ABRT -k 5 "$SCENARIO_LIMIT_S" choom -n 0 -- "$@" \
        >"/out/$name.log" 2>&1 </dev/null
    status=$?
    took=$(echo "$began $(now)" | awk '{printf "%.1f", $2 - $1}')
    printf '%s\t%s\t%s\n' "$name" "$status" "$took" >>/out/results.tsv
    echo "$name: exit $status after $took s"
}

SCENARIO_LIMIT_S=${SCENARIO_LIMIT_S:-120}
: >/out/results.tsv
for wheel in /payload/*.whl; do
    [ -e "$wheel" ] || break
    step install /opt/oomtrace/bin/python -m pip install --quiet --no-index --no-deps "$wheel"
done
while read -r scenario; do
    mkdir "/out/$scenario"
    step "$scenario" /opt/oomtrace/bin/python "/payload/scenarios/$MACHINE/$scenario.py"
done </payload/names
