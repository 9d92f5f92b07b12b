#!/bin/bash
# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

# Memory a backlog message, taken twice. In the server that accepted them: what the second half of the backlog adds to the
# first, whose growth includes what is bounded (bodies kept for receivers, ids of the last five minutes' sends). After a
# restart, when the index was rebuilt and nothing else ran: all of it, less an empty server.
# Prints JSON. At most 200 bytes a message are allowed.
#
# QUEUEPOOL=PATH, MESSAGES=2000000, GROUPS_COUNT=10000, BODY_BYTES=1024
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need python3 python3
program=${QUEUEPOOL:-$(build_release)}
messages=${MESSAGES:-2000000}
groups=${GROUPS_COUNT:-10000}
body=${BODY_BYTES:-1024}

work=$(mktemp -d "${TMPDIR:-/tmp}/queuepool-memory.XXXXXX")
server_pid=
cleanup() {
    [ -z "$server_pid" ] || kill "$server_pid" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
port=$(free_port)

load() { # MESSAGES
    "$program" bench --endpoint "http://127.0.0.1:$port" --server-pid "$server_pid" --pool bench.fifo --api sqs \
        --batch 10 --messages "$1" --groups "$groups" --body-bytes "$body" --warm-up-seconds 0 "${@:2}" >&2
}

say "base: an empty server"
start_server "$program" "$work/data" "$port" --pool bench.fifo=8
base_reopened=$(resident_bytes "$server_pid")

say "backlog of $messages messages, half by half"
load $((messages / 2)) --no-verify
half_running=$(resident_bytes "$server_pid")
load $((messages / 2)) --no-verify --allow-nonempty
full_running=$(resident_bytes "$server_pid")
stop_server
start_server "$program" "$work/data" "$port" --pool bench.fifo=8
full_reopened=$(resident_bytes "$server_pid")
stop_server

python3 - "$messages" "$half_running" "$full_running" "$base_reopened" "$full_reopened" <<'PY'
import json, sys
messages, half_running, full_running, base_reopened, full_reopened = map(int, sys.argv[1:])
running, reopened = (full_running - half_running) / (messages / 2), (full_reopened - base_reopened) / messages
print(json.dumps({
    "kind": "memory", "messages": messages, "bytesPerMessageRunning": round(running, 1),
    "bytesPerMessageReopened": round(reopened, 1), "baseBytes": base_reopened, "allowed": 200,
    "holds": max(running, reopened) <= 200}))
PY
