#!/bin/bash
# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

# Ceilings and queuepool side by side in one run on this machine: builds the release program, measures nginx and raw
# SQLite before and after every row of the table, and prints each figure as a ratio to the mean of its two neighbours
# beside floor and goal. A figure is only worth something beside a ceiling of the same seconds: both move with the
# machine's mood, here by a factor of two within minutes. Of several rounds the median ratio is printed.
#
# QUEUEPOOL=PATH   a program that is built already
# SECONDS_EACH=5   length of each measurement
# ROUNDS=3         times that every row is measured
# RESULTS=DIR      where the JSON goes (default benchmarks/results)
# SKIP_SCALE=1     leaves the quota runs out
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export SECONDS_EACH=${SECONDS_EACH:-5}
rounds=${ROUNDS:-3}
need python3 python3
program=${QUEUEPOOL:-$(build_release)}

commit=$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)
out=$results/$(date -u +%Y%m%dT%H%M%SZ)-$commit
mkdir -p "$out"
ceilings() { SECONDS_EACH=2 "$here/ceilings.sh" >"$out/ceilings-$round-$1.json"; }

# One measurement and the ceilings after it; a broken check or a failed run is noted and the table goes on.
measure() {
    local name=$1
    shift
    say "== $name, round $round"
    "$program" bench --seconds "$SECONDS_EACH" --warm-up-seconds 2 --groups 1000 --shards 8 --body-bytes 1024 \
        --json "$out/$name-$round.json" "$@" >&2 || say "$name: exit code $?"
    ceilings "$name"
}

for round in $(seq "$rounds"); do
    ceilings start
    measure single-rest --api rest --connections 64
    measure single-sqs --api sqs --batch 1 --connections 64
    measure ndjson --api ndjson --batch 1000 --connections 16
    measure batch-sqs --api sqs --batch 10 --connections 64
    measure drain --mode drain --api sqs --batch 10 --messages 400000 --connections 64
    measure both --mode both --api sqs --batch 10 --connections 32 --receivers 32
done
if [ -z "${SKIP_SCALE:-}" ]; then
    say "== scale"
    "$program" bench scale --shards 1,2,4,8 --quota 300 --json "$out/scale.json" >&2 || say "scale: exit code $?"
fi

python3 "$here/table.py" "$out" | tee "$out/table.txt"
say "results: $out"
