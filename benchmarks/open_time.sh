#!/bin/bash
# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

# Time from the start of the process to the first 200 of /readyz over a data directory with a large backlog. 5,000,000
# messages in under 10 s are asked for. The files are in the page cache unless COLD=1 (needs root). Prints JSON.
#
# QUEUEPOOL=PATH, MESSAGES=5000000, BODY_BYTES=1024, COLD=1, DATA_DIR=DIR (kept, and filled only if it is not there)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need python3 python3
need curl curl
program=${QUEUEPOOL:-$(build_release)}
messages=${MESSAGES:-5000000}
body=${BODY_BYTES:-1024}

work=$(mktemp -d "${TMPDIR:-/tmp}/queuepool-open.XXXXXX")
data=${DATA_DIR:-$work/data}
server_pid=
cleanup() {
    [ -z "$server_pid" ] || kill "$server_pid" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
port=$(free_port)

if [ ! -d "$data" ]; then
    say "laying in $messages messages of $body bytes"
    start_server "$program" "$data" "$port" --pool bench.fifo=8
    "$program" bench --endpoint "http://127.0.0.1:$port" --server-pid "$server_pid" --pool bench.fifo --api sqs \
        --batch 10 --messages "$messages" --groups 100000 --body-bytes "$body" --warm-up-seconds 0 --no-verify >&2
    stop_server
fi
sync
if [ -n "${COLD:-}" ]; then echo 3 >/proc/sys/vm/drop_caches; fi

start_server "$program" "$data" "$port" --pool bench.fifo=8
opened=$ready_milliseconds
resident=$(resident_bytes "$server_pid")
backlog=$(curl -fsS "http://127.0.0.1:$port/v1/pools/bench.fifo" \
    | python3 -c 'import json, sys; print(json.load(sys.stdin)["backlog"])')
stop_server
python3 - "$backlog" "$opened" "$resident" "${COLD:-0}" <<'PY'
import json, sys
backlog, opened, resident = map(int, sys.argv[1:4])
print(json.dumps({
    "kind": "open", "backlog": backlog, "seconds": opened / 1000, "residentBytes": resident,
    "cold": sys.argv[4] == "1", "holds": opened < 10_000}))
PY
